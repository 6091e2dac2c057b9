"""`flopsmith compare`: two or more runs side by side."""

import argparse
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError, RecipeError
from pipeline.system import quiet
from pipeline.system.files import write_atomic

SIDE = 96  # pixels of an image on the page, at most
log = logging.getLogger("flopsmith")


def add(commands: Any) -> None:
    """Add the command and its arguments."""
    compare = commands.add_parser(
        "compare",
        help="compare runs: recipes, numbers by stage, operators, classes, images",
        description="Compare runs with the first one: which is more accurate and by how much, with "
        "an interval from the images that both were tested on; what differs in their recipes; the "
        "numbers of every stage; the operators of their files; the classes that differ most; and "
        "the images that get another class.",
        epilog="example: flopsmith compare runs/mobile runs/smoke --html comparison.html",
    )
    compare.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="directories of runs")
    compare.add_argument(
        "--html", metavar="FILE", type=Path, help="also write a page, with the images"
    )
    compare.set_defaults(call=call)


def call(args: argparse.Namespace) -> None:
    """Run the command."""
    if len(args.runs) < 2:
        raise RecipeError(
            f"there is nothing to compare with. Received: {args.runs[0]}. Give two runs or more"
        )
    if len({place.resolve() for place in args.runs}) < len(args.runs):
        raise RecipeError(
            "a run is compared with itself. Received: "
            f"{', '.join(map(str, args.runs))}. Give each run once"
        )
    quiet.import_keras()
    from pipeline.measure import comparison
    from pipeline.report import comparison as page

    sides = [comparison.load(place) for place in args.runs]
    found = _gathered(sides, _picture(sides[0]) if args.html else None)
    page.print_text(found)
    if args.html:
        heading = " and ".join(side.name for side in sides)
        write_atomic(args.html, page.render_html(found, heading).encode())
        print(f"\nWritten: {args.html}")


def _gathered(sides: Any, picture: Callable[[int], str] | None) -> Any:
    from pipeline.measure import comparison
    from pipeline.report import mistakes
    from pipeline.report.comparison import Found

    first, *others = sides
    galleries = []
    for other in others:
        change = comparison.change(first, other)
        if change and change["changed"]:
            names = [row["class"] for row in first.final.details.per_class]
            title = f"Images that {other.name} names otherwise"
            lead = mistakes.changed_text(change, other.name)
            galleries.append((title, lead, mistakes.changed(change, other.name, names, picture)))
    return Found(
        names=[side.name for side in sides],
        headlines=comparison.headlines(sides),
        told=[comparison.told(first, other) for other in others],
        recipes=comparison.recipes(sides),
        numbers=comparison.numbers(sides),
        operators=comparison.operators(sides),
        classes=comparison.classes(sides),
        galleries=galleries,
    )


def _picture(side: Any) -> Callable[[int], str] | None:
    """What gives the address of a test image of a run; None where its data are gone."""
    from pipeline.data import datasets, inline

    try:
        config = datasets.DataConfig(**side.recipe["data"])
        test = datasets.load(config, side.recipe.get("seed", 0)).test
    except (PipelineError, KeyError, TypeError, ValueError) as error:
        log.warning("the page has no images: the data of %s cannot be read: %s", side.name, error)
        return None
    return lambda place: inline.address(test.images[test.index[place]], SIDE)
