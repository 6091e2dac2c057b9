"""`flopsmith evaluate`: accuracy of a model file on a data set."""

import argparse
import json
from pathlib import Path
from typing import Any

from pipeline.data import datasets
from pipeline.errors import RecipeError
from pipeline.system import quiet


def add(commands: Any) -> None:
    """Add the command and its arguments."""
    evaluate = commands.add_parser(
        "evaluate",
        help="accuracy of a model on a data set, also averaged over views of each image",
        description="Accuracy of a .keras or .tflite model on a part of a data set, which is "
        "divided as in a run with the same seed and fractions: give those of the recipe, or images "
        "that the model was trained on may be among those it is tested on.",
        epilog="example: flopsmith evaluate runs/mobile/export/model.tflite --data digits",
    )
    evaluate.add_argument(
        "model",
        metavar="MODEL",
        type=Path,
        help="a .keras or .tflite file, or runs/DIR: its last Keras model, not yet quantized",
    )
    evaluate.add_argument("--data", required=True, metavar="SOURCE", help="as in a recipe")
    evaluate.add_argument("--image-size", type=int, help="pixels per side (default: the data's)")
    evaluate.add_argument("--seed", type=int, default=0, help="of the division (default: 0)")
    for part in ("val", "test"):
        default = datasets.DataConfig.model_fields[f"{part}_fraction"].default
        evaluate.add_argument(
            f"--{part}-fraction",
            type=float,
            default=default,
            help=f"share of this part, as in the recipe (default: {default})",
        )
    evaluate.add_argument("--data-dir", help="where tensorflow-datasets keeps prepared sets")
    parts = ("train", "val", "test")
    evaluate.add_argument("--part", choices=parts, default="test", help="(default: test)")
    evaluate.add_argument(
        "--views",
        choices=("one", "flip", "ten_crop"),
        default="one",
        help="average the scores of each image and its mirror image, or of ten crops",
    )
    evaluate.add_argument("--json", action="store_true", help="print a JSON object")
    evaluate.set_defaults(call=call, guarded=True)


def call(args: argparse.Namespace) -> None:
    """Run the command."""
    from pydantic import ValidationError

    quiet.import_keras()
    from pipeline.measure import evaluate

    given = {key: getattr(args, key) for key in datasets.DataConfig.model_fields if key != "source"}
    try:
        config = datasets.DataConfig(source=args.data, **given)
    except ValidationError as error:
        first = error.errors()[0]
        option = "-".join(str(word) for word in first["loc"][:1]).replace("_", "-")
        reason = first["msg"].removeprefix("Value error, ")
        raise RecipeError(f"--{option}: {reason}. Received: {first['input']}") from error
    found = evaluate.accuracy(args.model, datasets.load(config, args.seed), args.part, args.views)
    if args.json:
        print(json.dumps(found, indent=1))
        return
    width = max(map(len, found["per_class"]))
    for name, value in found["per_class"].items():
        print(f"{name:{width}}  {value:.4f}")
    print(f"accuracy {found['accuracy']:.4f} on {found['images']} images ({found['part']})")
