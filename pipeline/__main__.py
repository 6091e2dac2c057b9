"""Command line: parse, call, and turn a user's error into one line and exit code 2."""

import argparse
import functools
import io
import logging
import os
import sys
from collections.abc import Sequence

from pipeline import __version__, commands
from pipeline.errors import ModelError, PipelineError
from pipeline.system import sandbox, stopping


def script() -> int:
    """Run the command of the command line; one that reads foreign models in a child process."""
    try:
        args = _parser().parse_args()
        _quieten()
        if not getattr(args, "guarded", False):
            return _run(args)
        return sandbox.run(functools.partial(_run, args))
    except ModelError as error:
        print(f"flopsmith: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before the command has begun
        print("flopsmith: stopped", file=sys.stderr)
        return 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command in this process; returns the exit code."""
    args = _parser().parse_args(argv)
    _quieten()
    return _run(args)


def _run(args: argparse.Namespace) -> int:
    try:
        return int(args.call(args) or 0)
    except PipelineError as error:
        print(f"flopsmith: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        goes_on = "" if getattr(args, "guarded", False) else "; the same command goes on from here"
        print(f"flopsmith: stopped{goes_on}", file=sys.stderr)
        return stopping.exit_code(stop)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flopsmith",
        description="Find, train and compress an image classifier within a budget of FLOPs, and\n"
        "export it as .tflite for phones, Edge TPUs and browsers.",
        epilog=commands.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"flopsmith {__version__}")
    found = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in commands.modules():
        command.add(found)
    return parser


def _quieten() -> None:
    """Set up our own log and keep the libraries' start-up messages off it.

    A name that the terminal cannot show is written with escapes, as Python does it for errors.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    logging.getLogger("flopsmith").setLevel(logging.INFO)
    for noisy in ("absl", "tensorflow", "mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


if __name__ == "__main__":
    sys.exit(script())
