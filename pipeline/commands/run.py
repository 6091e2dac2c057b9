"""`flopsmith run`: run a recipe, or resume an interrupted run."""

import argparse
import time
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
        "name",
        metavar="RECIPE",
        nargs="?",
        help="a name that `flopsmith recipes` lists, or a .yaml file",
    )
    run.add_argument("--recipe", help="the same as RECIPE, as an option")
    run.add_argument(
        "--data",
        default="",
        metavar="SOURCE",
        help="images to use instead of the recipe's: a folder with a sub-folder per class, "
        "a .csv, .parquet or .npz file, tfds:NAME[:VERSION] or digits",
    )
    add_shared(run, "search.trials=40 budget.flops=8M", "runs/RECIPE")
    run.set_defaults(call=call, fault=_fault)


def add_shared(command: argparse.ArgumentParser, settings: str, out: str) -> None:
    """Add the options that every command which runs a recipe has.

    Args:
        command: Its parser.
        settings: An example of `--set`.
        out: The default directory, for the help.
    """
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar='"KEY=VALUE ..."',
        help=f'replace single values of the recipe, as in "{settings}"; may be repeated',
    )
    command.add_argument(
        "--minutes",
        default="",
        metavar="N",
        help="how long the whole run may take: its stages share that time, and the recipe's own "
        "numbers of trials and epochs of finetune no longer count",
    )
    command.add_argument(
        "--out",
        default="",
        metavar="DIR",
        help=f"directory for the results (default: {out}); what to hand over is in DIR/export",
    )
    command.add_argument(
        "--fresh",
        action="store_true",
        help="run every stage again; earlier results are moved to DIR/replaced",
    )
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="print the images, the stages and an estimate of the time; train and write nothing",
    )


def call(args: argparse.Namespace) -> int:
    """Run the command."""
    from pipeline import recipe

    overrides = settings(args)
    if args.data:
        overrides["data.source"] = args.data
    return execute(recipe.load(args.recipe or args.name, overrides), args.out, args)


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """The values of all `--set`, by dotted key; of two for the same key, the last counts."""
    from pipeline import recipe

    found = {key: value for text in args.set for key, value in recipe.parse_overrides(text).items()}
    return found | (recipe.parse_overrides(f"minutes={args.minutes}") if args.minutes else {})


def execute(loaded: Any, out: str, args: argparse.Namespace) -> int:
    """Run a recipe and print its results; an empty `out` stands for `runs/RECIPE`.

    With `--dry-run`, print what would be run instead.

    Returns:
        1 if the result is worse than what it was made from, more than is allowed, else 0.
    """
    began = time.monotonic()
    from pipeline.tracking import store

    store.look()  # before Keras, whose import takes seconds
    quiet.import_keras()
    place = Path(out or f"runs/{loaded.name}")

    from pipeline import runner
    from pipeline.plan import overview
    from pipeline.report import verdict
    from pipeline.report.headline import headline
    from pipeline.stage import EXPORT

    if args.dry_run:
        recipe, dataset, clock = runner.prepared(loaded, place, args.fresh, began)
        print("\n".join(overview.lines(recipe, dataset, place, clock)))
        return 0
    finished, hint = runner.run(loaded, place, args.fresh, began)
    print(headline(finished))
    print(verdict.verdict(finished))
    for path in sorted((place / EXPORT).glob("*")):
        print(f"  {path} ({path.stat().st_size:,} bytes)")
    print(f"See the run in MLflow:\n  {hint}")
    return int(verdict.shortfall(finished) is not None)


def _fault(args: argparse.Namespace) -> str | None:
    """What is wrong with the name of the recipe: there is none, or there are two."""
    if args.recipe is None and args.name is None:
        return "a recipe is required: RECIPE or --recipe, a name that `flopsmith recipes` lists"
    if None not in (args.recipe, args.name) and args.recipe != args.name:
        return f"unrecognized arguments: {args.name}; the recipe is given as --recipe {args.recipe}"
    return None
