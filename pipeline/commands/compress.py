"""`flopsmith compress`: make a trained Keras model small, as far as accuracy allows."""

import argparse
from pathlib import Path
from typing import Any

from pipeline.commands import run

RECIPE = "compress"


def add(commands: Any) -> None:
    """Add the command and its arguments."""
    compress = commands.add_parser(
        "compress",
        help="prune, cluster and quantize a trained .keras model, as far as accuracy allows",
        description="Compress a trained Keras 3 model into an int8 .tflite, as far as val accuracy "
        "allows: the same as `flopsmith run compress --set load.model=MODEL`. After an "
        "interruption, the same command resumes the run.",
        epilog="example: flopsmith compress my.keras --data photos",
        allow_abbrev=False,
    )
    compress.add_argument("model", metavar="MODEL", help=".keras, runs/DIR, or mlflow:URI")
    compress.add_argument(
        "--data",
        required=True,
        metavar="SOURCE",
        help="the images it was trained on: a folder with a sub-folder per class, a .csv, "
        ".parquet or .npz file, tfds:NAME[:VERSION] or digits; their classes in the order of the "
        "model's scores",
    )
    compress.add_argument(
        "--max-accuracy-drop",
        type=float,
        metavar="FRACTION",
        help="largest loss of the objective on validation images, a fraction (default: 0.01, as in "
        "the recipe)",
    )
    compress.add_argument(
        "--objective",
        metavar="SCORE",
        help="the score that has to be kept: accuracy, balanced_accuracy, macro_f1 or auc "
        "(default: accuracy)",
    )
    run.add_shared(compress, "prune.epochs=12 cluster.clusters=16", "runs/compress-MODEL")
    compress.set_defaults(call=call)


def call(args: argparse.Namespace) -> int:
    """Run the command."""
    from pipeline import recipe

    overrides = {**run.settings(args), "data.source": args.data}
    overrides["load.model"] = args.model
    if args.max_accuracy_drop is not None:
        overrides["max_accuracy_drop"] = args.max_accuracy_drop
    if args.objective is not None:
        overrides["objective"] = args.objective
    loaded = recipe.load(RECIPE, overrides)
    return run.execute(loaded, args.out or f"runs/{RECIPE}-{Path(args.model).stem}", args)
