"""`flopsmith evaluate`: accuracy of a model file on a data set."""

import argparse
import json
from pathlib import Path
from typing import Any

from pipeline.errors import RecipeError
from pipeline.system import quiet

# the defaults of `data.datasets.DataConfig`, and how the help puts them
FRACTIONS = {"val": None, "test": 0.2}
MISTAKES = 5  # pairs of classes that are shown
SHOWN = {"val": "0.15, at most 5,000 images", "test": "0.2"}


def add(commands: Any) -> None:
    """Add the command and its arguments."""
    evaluate = commands.add_parser(
        "evaluate",
        help="measure the accuracy of a .keras or .tflite model on a data set",
        description="Measure the accuracy of a .keras or .tflite model on one part of a data set. "
        "The data set is divided as in a run with the same seed and fractions. Give those of the "
        "recipe: with others, the test part may hold images that the model was trained on.",
        epilog="example: flopsmith evaluate runs/mobile/export/model.tflite --data digits",
    )
    evaluate.add_argument(
        "model",
        metavar="MODEL",
        type=Path,
        help="a .keras or .tflite file, or runs/DIR: its last Keras model, not yet quantized",
    )
    add_data(evaluate)
    parts = ("train", "val", "test")
    evaluate.add_argument(
        "--part", choices=parts, default="test", help="images to use (default: test)"
    )
    evaluate.add_argument(
        "--views",
        choices=("one", "flip", "ten_crop"),
        default="one",
        help="scores to use: of each image; averaged with its mirror image; averaged over ten "
        "crops (default: one)",
    )
    evaluate.add_argument(
        "--damaged",
        type=int,
        default=0,
        metavar="N",
        help="also measure accuracy on N of the images with blur, noise, darkness, JPEG and "
        "rotation, each of three strengths (default: 0)",
    )
    evaluate.add_argument("--json", action="store_true", help="print a JSON object")
    evaluate.set_defaults(call=call, guarded=True)


def add_data(command: argparse.ArgumentParser, required: bool = True) -> None:
    """Add what says which images are used, and how they are divided."""
    command.add_argument(
        "--data",
        required=required,
        metavar="SOURCE",
        help="a data set, as in a recipe: a folder, a .csv, .parquet or .npz file, "
        "tfds:NAME[:VERSION] or digits",
    )
    _add_form(command)
    command.add_argument("--seed", type=int, default=0, help="seed of the division (default: 0)")
    for part, default in FRACTIONS.items():
        command.add_argument(
            f"--{part}-fraction",
            type=float,
            default=default,
            help=f"fraction of the images in the {part} part (default: {SHOWN[part]})",
        )
    command.add_argument("--data-dir", help="where tensorflow-datasets keeps prepared sets")


def _add_form(evaluate: argparse.ArgumentParser) -> None:
    """Add what says how pictures become images."""
    evaluate.add_argument(
        "--image-size", type=int, help="pixels per side (default: what the model takes)"
    )
    evaluate.add_argument(
        "--channels",
        type=int,
        choices=(1, 3),
        help="1: grey, 3: colour (default: what the model takes)",
    )
    evaluate.add_argument(
        "--fit",
        choices=("auto", "crop", "pad", "stretch"),
        default="auto",
        help="what becomes of pictures of other proportions (default: auto, that with which most "
        "val images are classified correctly)",
    )
    evaluate.add_argument(
        "--classes",
        type=lambda text: [name.strip() for name in text.split(",")],
        metavar="NAME,NAME,...",
        help="all classes in the order of the model's scores (default: sorted, as in the data)",
    )


def config(args: argparse.Namespace) -> Any:
    """The data that the arguments of `add_data` ask for, a `DataConfig`.

    Raises:
        RecipeError: an argument that cannot be.
    """
    from pydantic import ValidationError

    from pipeline.data import datasets

    fields = datasets.DataConfig.model_fields
    given = {key: getattr(args, key) for key in fields if hasattr(args, key)}
    try:
        return datasets.DataConfig(source=args.data, **given)
    except ValidationError as error:
        first = error.errors()[0]
        option = "-".join(str(word) for word in first["loc"][:1]).replace("_", "-")
        reason = first["msg"].removeprefix("Value error, ")
        raise RecipeError(f"--{option}: {reason}. Received: {first['input']}") from error


def call(args: argparse.Namespace) -> None:
    """Run the command."""
    quiet.import_keras()
    from pipeline.data import datasets
    from pipeline.measure import confusion, evaluate
    from pipeline.objective import TITLES
    from pipeline.report import sureness

    data = evaluate.form(args.model, config(args), args.seed)
    dataset = datasets.load(data, args.seed)
    found = evaluate.accuracy(args.model, dataset, args.part, args.views, args.damaged)
    if args.json:
        print(json.dumps(found, indent=1))
        return
    rows, said = found["per_class"], found["evaluation"]
    width = max(len("class"), *(len(row["class"]) for row in rows))
    print(f"{'class':{width}}  recall  precision      F1  images")
    for row in rows:
        shares = [
            "-" if value is None else f"{value:.4f}"
            for value in (row["test_accuracy"], row["precision"], row["f1"])
        ]
        recall, precision, f1 = shares
        images = row["test_images"]
        print(f"{row['class']:{width}}  {recall:>6}  {precision:>9}  {f1:>6}  {images:>6}")
    counts = confusion.dense(said["confusion"], len(rows))
    for label, named, images in confusion.mistakes(counts)[:MISTAKES]:
        print(f"{rows[label]['class']} was named {rows[named]['class']}: {images} images")
    for row in found.get("damaged", []):
        value = row["accuracy"]["model"]
        kind = f"{row['strength']} {row['kind']}".strip()
        ends = f"95% interval {value['low']:.4f} to {value['high']:.4f}"
        print(f"damage {kind}: accuracy {value['value']:.4f} on {row['images']} images, {ends}")
    print(sureness.text(said))
    for name, score in found["scores"].items():
        ends = f"95% interval {score['low']:.4f} to {score['high']:.4f}"
        where = f" on {found['images']} images ({found['part']})" if name == "accuracy" else ""
        print(f"{TITLES[name]} {score['value']:.4f}{where}, {ends}")
    if found["absent"]:
        print(f"no images of {', '.join(found['absent'])}: left out of the means over the classes")
