"""`flopsmith predict`: classify images with a `.tflite` model."""

import argparse
import json
from pathlib import Path
from typing import Any

from pipeline.errors import RecipeError


def add(commands: Any) -> None:
    """Add the command and its arguments."""
    predict = commands.add_parser(
        "predict",
        help="classify images with a .tflite model",
        description="Classify images and print the best classes with their scores. Class names "
        "are read from labels.txt beside the model, or from the model's metadata.",
    )
    predict.add_argument("model", metavar="MODEL.tflite", help="an exported model")
    predict.add_argument("images", metavar="IMAGE", nargs="+", help="PNG, JPEG or BMP files")
    predict.add_argument("--top", type=int, default=3, help="classes to show (default: 3)")
    predict.add_argument("--json", action="store_true", help="print a JSON object per image")
    predict.set_defaults(call=call, guarded=True)


def call(args: argparse.Namespace) -> None:
    """Run the command."""
    if args.top < 1:
        raise RecipeError(f"--top takes a whole number from 1. Received: {args.top}")
    from pipeline.tflite import predict

    model, labels = predict.load(Path(args.model))
    predict.tell_pixels(model, args.model)
    for path in args.images:
        best = predict.classify(model, labels, Path(path), args.top)
        if args.json:
            print(json.dumps({"image": path, "classes": best}))
        else:
            print(f"{path}: " + "  ".join(f"{c['label']} {c['score']:.3f}" for c in best))
