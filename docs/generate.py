"""Write the tables of settings in docs/recipes.md from the pydantic schemas.

    python docs/generate.py

Text between `<!-- settings: NAME -->` and `<!-- end -->` is replaced; a test checks that it is
up to date.
"""

import re
from pathlib import Path

from pydantic import BaseModel

from pipeline import recipe, stage
from pipeline.budget import Budget
from pipeline.data import DataConfig

PAGE = Path(__file__).with_name("recipes.md")


def schemas() -> dict[str, type[BaseModel]]:
    """The settings of a recipe's head, its data, its budget and of every stage."""
    stages = {name: stage.load(name).Config for name in stage.names()}
    return {"recipe": recipe.Head, "data": DataConfig, "budget": Budget, **stages}


def table(schema: type[BaseModel]) -> str:
    """A row per setting: name, default, meaning."""
    if not schema.model_fields:
        return "It has no settings."
    rows = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for name, field in schema.model_fields.items():
        default = "required" if field.is_required() else _shown(field.default)
        rows.append(f"| `{name}` | {default} | {field.description} |")
    return "\n".join(rows)


def _shown(default: object) -> str:
    if isinstance(default, BaseModel):
        return "none"
    if isinstance(default, tuple):
        return f"`[{', '.join(map(str, default))}]`"
    return "none" if default is None else f"`{default}`"


def render(page: str) -> str:
    """The page with every table written anew."""
    known = schemas()
    return re.sub(
        r"(<!-- settings: (\w+) -->\n).*?(<!-- end -->)",
        lambda match: f"{match[1]}{table(known[match[2]])}\n{match[3]}",
        page,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
