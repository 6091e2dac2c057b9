"""`flopsmith probe`: statistics of activations and gradients before training."""

import argparse
import json
from pathlib import Path
from typing import Any, get_args

from pipeline.errors import RecipeError
from pipeline.system import quiet
from search_spaces import choices


def add(commands: Any) -> None:
    """Add the command and its arguments."""
    probe = commands.add_parser(
        "probe",
        help="show whether activations or gradients vanish or explode before training",
        description="Print the mean and standard deviation of activations and gradients of each "
        "layer of an untrained network, for an initialization and a depth. Without NETWORK, the "
        "network is a stack of dense layers, and its inputs are drawn from the unit normal "
        "distribution.",
        epilog="example: flopsmith probe --depth 10 --activation tanh --init gaussian",
    )
    inits, kinds = get_args(choices.Init), get_args(choices.Activation)
    probe.add_argument(
        "network",
        metavar="NETWORK",
        nargs="?",
        help="a published network; `flopsmith networks` lists them",
    )
    probe.add_argument("--init", choices=inits, default="he_normal", help="(default: he_normal)")
    probe.add_argument(
        "--std",
        type=float,
        help="draw weights from a normal distribution of this standard deviation instead",
    )
    probe.add_argument("--activation", choices=kinds, default="relu", help="(default: relu)")
    probe.add_argument("--depth", type=int, default=10, help="dense layers (default: 10)")
    probe.add_argument("--width", type=int, default=500, help="units per layer (default: 500)")
    probe.add_argument("--json", action="store_true", help="print JSON instead of a table")
    probe.add_argument(
        "--plot", metavar="FILE.svg", type=Path, help="draw the standard deviations of both"
    )
    probe.set_defaults(call=call)


def call(args: argparse.Namespace) -> None:
    """Run the command."""
    quiet.import_keras()
    from pipeline.train import probe

    if args.depth < 1 or args.width < 1:
        raise RecipeError(f"--depth and --width start at 1. Received: {args.depth}, {args.width}")
    made = probe.build(args.network, args.init, args.activation, args.depth, args.width, args.std)
    rows = probe.measure(*made)
    if args.plot:
        probe.plot(rows, args.plot)
    print(json.dumps(probe.as_json(rows), indent=1) if args.json else probe.as_table(rows))
