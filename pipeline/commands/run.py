"""`flopsmith run`: run a recipe, or resume an interrupted run."""

import argparse
from pathlib import Path
from typing import Any

from pipeline.commands import EXAMPLES
from pipeline.system import quiet


def add(commands: Any) -> None:
    """Add the command and its arguments."""
    run = commands.add_parser(
        "run",
        help="run a recipe: search, train, compress, export; resumes an interrupted run",
        description="Run the stages of a recipe in order. After an interruption, the same command\n"
        "resumes the run; finished stages and trials are not repeated.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # `mlflow run -P rec=x` arrives as `--rec x`, and is a misspelling
    )
    run.add_argument(
        "--recipe", required=True, help="a name that `flopsmith recipes` lists, or a .yaml file"
    )
    run.add_argument(
        "--data",
        default="",
        metavar="SOURCE",
        help="images to use instead of the recipe's: folder:PATH, npz:PATH, tfds:NAME[:VERSION] or "
        "digits",
    )
    run.add_argument(
        "--set",
        default="",
        metavar='"KEY=VALUE ..."',
        help='replace single values of the recipe, as in "search.trials=40 budget.flops=8M"',
    )
    run.add_argument(
        "--out",
        default="",
        metavar="DIR",
        help="directory for the results (default: runs/RECIPE); what to hand over is in DIR/export",
    )
    add_fresh(run)
    run.set_defaults(call=call)


def add_fresh(command: argparse.ArgumentParser) -> None:
    """Add `--fresh` to a command that runs a recipe."""
    command.add_argument(
        "--fresh",
        action="store_true",
        help="run every stage again; earlier results are moved to DIR/replaced",
    )


def call(args: argparse.Namespace) -> int:
    """Run the command."""
    from pipeline import recipe

    overrides = recipe.parse_overrides(args.set)
    if args.data:
        overrides["data.source"] = args.data
    return execute(recipe.load(args.recipe, overrides), args.out, args.fresh)


def execute(loaded: Any, out: str, fresh: bool) -> int:
    """Run a recipe and print its results; an empty `out` stands for `runs/RECIPE`.

    Returns:
        1 if the result is worse than what it was made from, more than is allowed, else 0.
    """
    quiet.import_keras()
    place = Path(out or f"runs/{loaded.name}")

    from pipeline import runner
    from pipeline.report import verdict
    from pipeline.stage import EXPORT

    finished, hint = runner.run(loaded, place, fresh)
    print(verdict.verdict(finished))
    for path in sorted((place / EXPORT).glob("*")):
        print(f"  {path} ({path.stat().st_size:,} bytes)")
    print(f"See the run in MLflow:\n  {hint}")
    return int(verdict.shortfall(finished) is not None)
