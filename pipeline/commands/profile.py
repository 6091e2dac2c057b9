"""`flopsmith profile`: count a network layer by layer."""

import argparse
import json
from typing import Any

from pipeline.errors import RecipeError
from pipeline.system import quiet


def add(commands: Any) -> None:
    """Add the command and its arguments."""
    profile = commands.add_parser(
        "profile",
        help="count parameters, MACs, FLOPs and activation memory, layer by layer",
        description="Count a .keras model, or a published network that `flopsmith networks` lists, "
        "layer by layer. FLOPs = 2 x MACs of convolutions, dense layers and attention, for one "
        "image. Activations are counted in bytes, as float32.",
        epilog="example: flopsmith profile my.keras --sort macs",
    )
    profile.add_argument("model", metavar="MODEL", help="a .keras file or the name of a network")
    profile.add_argument("--json", action="store_true", help="print JSON instead of a table")
    sorts = ("params", "macs", "activation_bytes", "receptive_field")
    profile.add_argument(
        "--sort",
        choices=sorts,
        help="sort the layers, largest first (default: in the order of execution)",
    )
    profile.add_argument("--batch", type=int, default=1, help="images per batch (default: 1)")
    profile.set_defaults(call=call)


def call(args: argparse.Namespace) -> None:
    """Run the command."""
    quiet.import_keras()
    from pipeline.graph import profile

    if args.batch < 1:
        raise RecipeError(f"--batch takes a whole number from 1. Received: {args.batch}")
    counted = profile.of(args.model)
    if args.json:
        print(json.dumps(profile.as_json(counted, args.batch, args.sort), indent=1))
    else:
        print(profile.as_table(counted, args.batch, args.sort))
