"""`flopsmith evaluate`: accuracy of a model file on a data set."""

import argparse
import json
from pathlib import Path
from typing import Any

from pipeline import quiet
from pipeline.errors import RecipeError


def add(commands: Any) -> None:
    """Add the command and its arguments."""
    evaluate = commands.add_parser(
        "evaluate",
        help="accuracy of a model on a data set, also averaged over views of each image",
        description="Accuracy of a .keras or .tflite model on a part of a data set, which is "
        "divided as in a run with the same seed.",
        epilog="example: flopsmith evaluate runs/mobile/export/model.tflite --data digits",
    )
    evaluate.add_argument("model", metavar="MODEL", type=Path, help="a .keras or .tflite file")
    evaluate.add_argument("--data", required=True, metavar="SOURCE", help="as in a recipe")
    evaluate.add_argument("--image-size", type=int, help="pixels per side (default: the data's)")
    evaluate.add_argument("--seed", type=int, default=0, help="of the division (default: 0)")
    parts = ("train", "val", "test")
    evaluate.add_argument("--part", choices=parts, default="test", help="(default: test)")
    evaluate.add_argument(
        "--views",
        choices=("one", "flip", "ten_crop"),
        default="one",
        help="average the scores of each image and its mirror image, or of ten crops",
    )
    evaluate.add_argument("--json", action="store_true", help="print a JSON object")
    evaluate.set_defaults(call=call)


def call(args: argparse.Namespace) -> None:
    """Run the command."""
    from pydantic import ValidationError

    quiet.import_keras()
    from pipeline import data, evaluate

    try:
        config = data.DataConfig(source=args.data, image_size=args.image_size)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise RecipeError(f"--image-size: {reason}. Received: {args.image_size}") from error
    found = evaluate.accuracy(args.model, data.load(config, args.seed), args.part, args.views)
    if args.json:
        print(json.dumps(found, indent=1))
        return
    width = max(map(len, found["per_class"]))
    for name, value in found["per_class"].items():
        print(f"{name:{width}}  {value:.4f}")
    print(f"accuracy {found['accuracy']:.4f} on {found['images']} images ({found['part']})")
