"""`flopsmith bits`: the fewest bits of a network in fixed point, and of its accumulators."""

import argparse
import json
import logging
import re
from pathlib import Path
from typing import Any

from pipeline.commands import evaluate
from pipeline.errors import ModelError, OutputError, RecipeError
from pipeline.system import quiet

MOST = 64  # bits of an accumulator
log = logging.getLogger("flopsmith")


def add(commands: Any) -> None:
    """Add the command and its arguments."""
    bits = commands.add_parser(
        "bits",
        help="tell how few bits a network needs in fixed point, and how wide its accumulators "
        "have to be",
        description="For hardware in fixed point. Of a trained .keras model: the fewest bits of "
        "weights and data that keep its accuracy without training, with one format for all layers "
        "and with formats of each layer; the traffic that is left of 32-bit floats; the ideal "
        "speed-up of bit-serial hardware over 16 bits; and what accumulators of few bits do. "
        "Of an int8 .tflite file, without data: bounds of its accumulators that hold for every "
        "image.",
        epilog="example: flopsmith bits my.keras --data digits --json bits.json",
    )
    bits.add_argument(
        "model",
        metavar="MODEL",
        type=Path,
        help="a .keras file, an int8 .tflite file, or runs/DIR: its last Keras model",
    )
    evaluate.add_data(bits, required=False)
    bits.add_argument(
        "--images",
        type=int,
        default=500,
        help="images of each part at most: ranges are measured on train images, bits are searched "
        "with val images, and the results measured on test images (default: 500)",
    )
    bits.add_argument(
        "--within",
        default="1,2,5,10",
        metavar="PERCENT,...",
        help="accuracy that may be lost, in percent of the accuracy in float (default: 1,2,5,10)",
    )
    bits.add_argument(
        "--accumulator",
        default="16,12,8",
        metavar="BITS,...",
        help="accumulators that are simulated, with overflow that wraps and that clips, in the "
        "formats of the smallest loss (default: 16,12,8)",
    )
    bits.add_argument(
        "--exact-images",
        type=int,
        default=100,
        help="val images at most for this, which takes exact integers (default: 100)",
    )
    bits.add_argument(
        "--lowest",
        action="store_true",
        help="also search the narrowest accumulator of each layer with which 99%% of the accuracy "
        "is kept; this takes long",
    )
    bits.add_argument("--json", metavar="FILE", type=Path, help="write all of it to a JSON file")
    bits.set_defaults(call=call, guarded=True)


def call(args: argparse.Namespace) -> None:
    """Run the command."""
    for name in ("images", "exact_images"):
        if getattr(args, name) < 1:
            option = name.replace("_", "-")
            raise RecipeError(
                f"--{option} takes a whole number from 1. Received: {getattr(args, name)}"
            )
    within = _within(args.within)
    widths = _widths(args.accumulator)
    if args.json and (args.json.is_dir() or not args.json.absolute().parent.is_dir()):
        raise OutputError(
            f"cannot write the JSON file. Received: --json {args.json}. Give the name of a file in "
            "a directory that exists"
        )
    if args.model.suffix == ".tflite":
        found, text = _of_file(args.model, args.data)
    else:
        found, text = _of_model(args, within, widths)
    print(text)
    if args.json:
        from pipeline.system.files import write_atomic

        try:
            write_atomic(args.json, json.dumps(found, indent=1) + "\n")
        except OSError as error:
            raise OutputError(
                f"cannot write the JSON file. Received: {args.json} ({error.strerror})"
            ) from error


def _of_file(path: Path, data: str | None) -> tuple[dict[str, Any], str]:
    """Bounds of a `.tflite` file."""
    from pipeline.fixed_point import static
    from pipeline.tflite import read

    _, graph = read.load(path)
    try:
        bounds = static.bounds(graph)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    if data is not None:
        log.info("bits: the bounds of a .tflite file hold for every image; --data is not used")
    return {"model": str(path), **static.as_json(bounds)}, static.as_text(bounds)


def _of_model(
    args: argparse.Namespace, within: list[float], widths: list[int]
) -> tuple[dict[str, Any], str]:
    """Fewest bits of a Keras model."""
    if args.data is None:
        raise RecipeError(
            f"the bits of a Keras model are judged by its accuracy. Received: {args.model} without "
            "--data. Give the data that it was trained on: --data SOURCE"
        )
    quiet.import_keras()
    from pipeline.data import datasets
    from pipeline.fixed_point import survey, table
    from pipeline.measure import evaluate as measured
    from pipeline.measure import guessing
    from pipeline.pretrained import given, sources, worth

    data = measured.form(args.model, evaluate.config(args), args.seed, "bits")
    dataset = datasets.load(data, args.seed)
    wish = given.Wish(str(args.model), "keep", asker="bits")
    taken = given.adapted(wish, sources.load(wish.source), dataset, data, args.seed)
    if taken.found and (doubt := worth.doubt(taken.found, dataset.class_names)):
        log.warning("%s: %s", args.model, doubt.text)
    asked = survey.Asked(
        args.images, within, widths, args.exact_images, args.lowest, seed=args.seed
    )
    found = survey.of(taken.model, dataset, asked, guessing.least_hits)
    found = {"model": str(args.model), "data": args.data, **found}
    return found, table.as_text(found)


def _within(text: str) -> list[float]:
    """Read `--within`: fractions."""
    try:
        percents = [float(part) for part in text.split(",")]
    except ValueError:
        percents = []
    if not percents or not all(0 <= one < 100 for one in percents):
        raise RecipeError(
            f"--within takes numbers in [0, 100) with commas between. Received: {text!r}"
        )
    return sorted({one / 100 for one in percents})


def _widths(text: str) -> list[int]:
    """Read `--accumulator`."""
    parts = text.split(",")
    if not all(re.fullmatch(r"[1-9]\d?", part) and 2 <= int(part) < MOST for part in parts):
        raise RecipeError(
            f"--accumulator takes whole numbers from 2 to {MOST - 1} with commas between. "
            f"Received: {text!r}"
        )
    return sorted(set(map(int, parts)), reverse=True)
