"""Several runs side by side, as one HTML page or as text."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from pipeline.report import templates
from pipeline.report.mistakes import Shown

TEMPLATE = "comparison.html.j2"


@dataclass(frozen=True)
class Found:
    """What is shown of the runs; rows of tables begin with what they are about."""

    names: list[str]  # of the runs, the first of which the others are compared with
    headlines: list[str]
    told: list[str]
    recipes: list[list[str]]
    numbers: list[list[str]]
    operators: list[list[str]]
    classes: list[list[str]]
    galleries: list[tuple[str, str, list[Shown]]]  # title, lead, images


def render_html(found: Found, heading: str) -> str:
    """Write the comparison as one page that loads nothing."""
    return templates.environment().get_template(TEMPLATE).render(found=found, heading=heading)


def print_text(found: Found) -> None:
    """Print the comparison, the verdict first."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for line in (*found.told, *found.headlines):
        console.print(line)
    for title, heads, rows in (
        ("Numbers by stage", ["stage", "number"], found.numbers),
        ("What differs in the recipe", ["setting"], found.recipes),
        ("Test accuracy by class (%), where it differs most", ["class"], found.classes),
        ("Operators of the files", ["operator"], found.operators),
    ):
        console.print(f"\n{title}")
        if rows:
            console.print(_table([*heads, *found.names], rows, len(heads)))
        else:
            console.print("  nothing differs")
    for title, lead, _ in found.galleries:
        console.print(f"\n{title}: {lead}")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> Table:
    made = Table(*heads, box=box.SIMPLE_HEAD)
    for column in made.columns[words:]:
        column.justify = "right"
    for row in rows:
        made.add_row(*row)
    return made
