"""`flopsmith ui`: show the runs so far in a browser."""

import argparse
from typing import Any

from pipeline.errors import RecipeError


def add(commands: Any) -> None:
    """Add the command and its arguments."""
    ui = commands.add_parser(
        "ui",
        help="show the runs so far in a browser: starts MLflow's own page",
        description="Start MLflow's page for the runs made in this directory, or in the store that "
        "MLFLOW_TRACKING_URI names, and print its address. Ctrl-C stops it.",
        epilog="example: flopsmith ui --port 5001",
    )
    ui.add_argument(
        "--port", type=int, default=5000, help="port of this machine to serve on (default: 5000)"
    )
    ui.set_defaults(call=call)


def call(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code of MLflow's server."""
    if not 1 <= args.port <= 65535:
        raise RecipeError(f"--port takes a whole number in 1..65535. Received: {args.port}")
    from pipeline.tracking import ui

    address = ui.address()
    if address is not None:
        print(f"The runs are on a server that is running already:\n  {address}")
        return 0
    try:
        with ui.serving(args.port) as server:
            page = f"http://127.0.0.1:{args.port}"
            print(f"The runs are at {page}\nCtrl-C stops the page.", flush=True)
            return ui.wait(server)
    except KeyboardInterrupt:  # before the page has begun
        return 0
