"""`flopsmith sync`: record in MLflow what it has missed of earlier runs."""

import argparse
from pathlib import Path
from typing import Any

from pipeline.errors import RecipeError

RUNS = Path("runs")


def add(commands: Any) -> None:
    """Add the command and its arguments."""
    sync = commands.add_parser(
        "sync",
        help="record in MLflow what it has missed of runs while it could not be reached",
        description="A run goes on while MLflow cannot be reached, and keeps what MLflow misses in "
        "its directory. This records it in the store that MLFLOW_TRACKING_URI names. Exit code 1: "
        "some of it still cannot be recorded.",
        epilog="example: flopsmith sync runs/mobile",
    )
    sync.add_argument(
        "runs",
        metavar="RUN",
        type=Path,
        nargs="*",
        help=f"directories of runs (default: all in {RUNS}/ that MLflow has missed something of)",
    )
    sync.set_defaults(call=call)


def call(args: argparse.Namespace) -> int:
    """Run the command; 1 if MLflow still misses something."""
    from pipeline.tracking import journal

    for place in args.runs:
        if not place.is_dir():
            raise RecipeError(f"no such run. Received: {place}. Give directories of runs")
    places = args.runs or sorted(path.parent for path in RUNS.glob(f"*/{journal.FILE}"))
    left = 0
    for place in places:
        calls = journal.missed(place)
        done = calls == 0 or journal.sync(place)
        left += not done
        said = (
            "nothing was missed"
            if calls == 0
            else f"{calls} records, "
            + ("now in MLflow" if done else "some of which MLflow still does not take")
        )
        print(f"{place}: {said}")
    if not places:
        print(f"MLflow has missed nothing of the runs in {RUNS}/")
    return int(left > 0)
