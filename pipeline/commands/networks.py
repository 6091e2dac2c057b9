"""`flopsmith networks`: list the published networks."""

import argparse
from typing import Any

from pipeline.system import quiet


def add(commands: Any) -> None:
    """Add the command and its arguments."""
    networks = commands.add_parser(
        "networks",
        help="list the published networks that `profile`, `probe` and recipes know by name",
        description="List every published network with its family, input size, parameters and "
        "multiply-accumulates (MACs).",
        epilog="example: flopsmith networks | grep resnet",
    )
    networks.set_defaults(call=call)


def call(_: argparse.Namespace) -> None:
    """Run the command."""
    quiet.import_keras()
    from pipeline.graph import complexity
    from search_spaces import published

    for name, (family, net) in published.networks().items():
        counted = complexity.count(family, net.arch, net.input_shape, net.num_classes)
        shape = "x".join(map(str, net.input_shape))
        print(
            f"{name:30} {family:18} {shape:>11} {counted.params:>13,} params "
            f"{counted.macs:>16,} MACs"
        )
