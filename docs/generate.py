"""Write the generated tables of docs/*.md from the code.

    python docs/generate.py

Text between `<!-- NAME -->` and `<!-- end -->` is replaced where `NAME` is known here; a test
checks that it is up to date.
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline import recipe, stage
from pipeline.budget import Budget
from pipeline.data.augment.strength import RandAugment, Strength
from pipeline.data.datasets import DataConfig
from pipeline.graph import complexity
from pipeline.train.settings import Settings
from search_spaces import families, family, published

PAGES = tuple(sorted(Path(__file__).parent.glob("*.md")))
IMAGE, CLASSES = (32, 32, 3), 10
COVERAGE = Path(__file__).parents[1] / "benchmarks" / "results" / "coverage.json"


def blocks() -> dict[str, Callable[[], str]]:
    """A writer for every generated block, by the name in its marker."""
    schemas: dict[str, type[BaseModel]] = {
        "recipe": recipe.Head,
        "data": DataConfig,
        "budget": Budget,
        "training": Settings,
        "augmentation": Strength,
        "randaugment": RandAugment,
        **{name: stage.load(name).Config for name in stage.names()},
    }
    tables = {f"settings: {name}": lambda s=s: settings(s) for name, s in schemas.items()}
    own = {"families": family_table, "networks": network_table, "coverage": coverage_table}
    return {**tables, **own}


def settings(schema: type[BaseModel]) -> str:
    """A row per setting: name, default, meaning."""
    if not schema.model_fields:
        return "It has no settings."
    rows = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for name, field in schema.model_fields.items():
        default = "required" if field.is_required() else _shown(field.default)
        meaning = (field.description or "").replace("|", "\\|")
        rows.append(f"| `{name}` | {default} | {meaning} |")
    return "\n".join(rows)


def _shown(default: object) -> str:
    if isinstance(default, BaseModel):
        return "none"
    if isinstance(default, tuple):
        return f"`[{', '.join(map(str, default))}]`"
    return "none" if default is None else f"`{default}`"


class Recorder:
    """Stands in for keras-tuner: takes the first or last value, and counts the values."""

    def __init__(self, last: bool) -> None:
        self._last = last
        self.choices: dict[str, int] = {}

    def Choice(self, name: str, values: Sequence[Any]) -> Any:
        """Take the first or the last of `values`."""
        self.choices[name] = len(values)
        return values[-1 if self._last else 0]


def family_table() -> str:
    """A row per family: what is searched, how many networks that makes, and what they cost."""
    rows = [
        "| family | searched | points | smallest MACs | largest MACs | not for |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    for name in families():
        cheapest, largest = Recorder(last=False), Recorder(last=True)
        ends = [family(name).sample(r) for r in (cheapest, largest)]
        macs = [complexity.count(name, arch, IMAGE, CLASSES).macs for arch in ends]
        refused = ", ".join(sorted(getattr(family(name), "UNDEPLOYABLE", {})))
        points = math.prod(largest.choices.values())
        kinds = dict.fromkeys(re.sub(r"_\d+$", "", key) for key in largest.choices)
        rows.append(
            f"| `{name}` | {', '.join(kinds)} | {points:.2g} | {macs[0]:,} | {macs[1]:,} "
            f"| {refused or '-'} |"
        )
    return "\n".join(rows)


def network_table() -> str:
    """A row per published network, with its exact counts."""
    rows = [
        "| network | family | image | params | trainable | MACs |",
        "| --- | --- | --- | ---: | ---: | ---: |",
    ]
    for name, (owner, net) in published.networks().items():
        counted = complexity.count(owner, net.arch, net.input_shape, net.num_classes)
        image = "x".join(map(str, net.input_shape))
        rows.append(
            f"| `{name}` | {owner} | {image} | {counted.params:,} "
            f"| {counted.trainable_params:,} | {counted.macs:,} |"
        )
    return "\n".join(rows)


def coverage_table() -> str:
    """A row per network that `benchmarks/coverage.py` compressed, or that was refused."""
    rows = [
        "| network | image | kernels pruned, clustered | left out | float operators | bytes "
        "| difference |",
        "| --- | --- | ---: | --- | --- | ---: | ---: |",
    ]
    for row in json.loads(COVERAGE.read_text(encoding="utf-8")):
        image = "x".join(map(str, row["image"]))
        if "refused" in row:
            reason = row["refused"].split(". Build")[0].split(". Use")[0]
            rows.append(f"| `{row['network']}` | {image} | | refused: {reason} | | | |")
            continue
        left = [f"{n} {kind}: not pruned or clustered" for kind, n in row["not_pruned"].items()]
        left += [f"{n} {kind}: not quantized, {reason}" for kind, reason, n in row["skipped"]]
        rows.append(
            f"| `{row['network']}` | {image} | {row['pruned']} | {'; '.join(left) or '-'} "
            f"| {', '.join(row['float_operators']) or 'none'} | {row['size_bytes']:,} "
            f"| {row['difference']:.3f} |"
        )
    return "\n".join(rows)


def render(page: str) -> str:
    """The page with every generated block written anew."""
    known = blocks()

    def block(match: re.Match[str]) -> str:
        return f"{match[1]}{known[match[2]]()}\n{match[3]}" if match[2] in known else match[0]

    return re.sub(r"(<!-- ([\w: ]+) -->\n).*?(<!-- end -->)", block, page, flags=re.DOTALL)


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(render(path.read_text(encoding="utf-8")), encoding="utf-8")
