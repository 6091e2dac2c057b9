"""`flopsmith run`: run a recipe, or what is left of an interrupted run."""

import argparse
from pathlib import Path
from typing import Any

from pipeline.commands import EXAMPLES
from pipeline.system import quiet


def add(commands: Any) -> None:
    """Add the command and its arguments."""
    run = commands.add_parser(
        "run",
        help="run a recipe, or what is left of an interrupted run",
        description="Run a recipe. The same command after an interruption goes on where it "
        "stopped; finished stages and trials are not repeated.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # `mlflow run -P rec=x` arrives as `--rec x`, and is a misspelling
    )
    run.add_argument("--recipe", required=True, help="a name (see `flopsmith recipes`) or a path")
    run.add_argument(
        "--data",
        default="",
        metavar="SOURCE",
        help="digits, tfds:NAME[:VERSION], folder:PATH or npz:PATH instead of the recipe's data",
    )
    run.add_argument(
        "--set",
        default="",
        metavar='"KEY=VALUE ..."',
        help='replace single values of the recipe: --set "search.trials=40 budget.flops=8M"',
    )
    run.add_argument(
        "--out",
        default="",
        metavar="DIR",
        help="where results go (default: runs/RECIPE); the deliverables are in DIR/export",
    )
    add_fresh(run)
    run.set_defaults(call=call)


def add_fresh(command: argparse.ArgumentParser) -> None:
    """Add the option of a command that runs a recipe to begin anew."""
    command.add_argument(
        "--fresh",
        action="store_true",
        help="run every stage again; earlier results are moved to DIR/replaced",
    )


def call(args: argparse.Namespace) -> None:
    """Run the command."""
    from pipeline import recipe

    overrides = recipe.parse_overrides(args.set)
    if args.data:
        overrides["data.source"] = args.data
    execute(recipe.load(args.recipe, overrides), args.out, args.fresh)


def execute(loaded: Any, out: str, fresh: bool) -> None:
    """Run a recipe, and say what came out; `out` is empty for `runs/RECIPE`."""
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
