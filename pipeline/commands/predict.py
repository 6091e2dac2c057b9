"""`flopsmith predict`: classify images with a `.tflite` model."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pipeline.errors import RecipeError


def add(commands: Any) -> None:
    """Add the command and its arguments."""
    predict = commands.add_parser(
        "predict",
        help="classify images with a .tflite model",
        description="Classify images and print the best classes with their scores. Class names "
        "are read from labels.txt beside the model, or from the model's metadata. Exit code 0: "
        "every image was classified; 1: some cannot be read, and are named; 2: nothing was done.",
        epilog="example: flopsmith predict runs/mobile/export/model.tflite photo.jpg photos/",
    )
    predict.add_argument("model", metavar="MODEL.tflite", help="an exported model")
    predict.add_argument(
        "images",
        metavar="IMAGE",
        nargs="+",
        help="image files, folders with images, also in sub-folders, and patterns such as '*.jpg'",
    )
    predict.add_argument("--top", type=int, default=3, help="classes to show (default: 3)")
    predict.add_argument("--json", action="store_true", help="print a JSON object per image")
    predict.set_defaults(call=call, guarded=True)


def call(args: argparse.Namespace) -> int:
    """Run the command; 1 if some images, but not the only one, cannot be read."""
    if args.top < 1:
        raise RecipeError(f"--top takes a whole number from 1. Received: {args.top}")
    from pipeline.tflite import predict

    model, labels = predict.load(Path(args.model))
    predict.tell_pixels(model, args.model)
    paths, left_out = predict.listed(args.images)
    for line in left_out:
        print(f"flopsmith: {line}", file=sys.stderr)
    unread = 0
    for path, best in predict.classified(model, labels, paths, args.top):
        if isinstance(best, Exception):
            if len(paths) == 1:
                raise best
            unread += 1
            print(f"flopsmith: {best}", file=sys.stderr)
        elif args.json:
            print(json.dumps({"image": str(path), "classes": best}))
        else:
            print(f"{path}: " + "  ".join(f"{c['label']} {c['score']:.3f}" for c in best))
    if unread:
        print(f"flopsmith: {unread} of {len(paths)} images cannot be read", file=sys.stderr)
    return 1 if unread else 0
