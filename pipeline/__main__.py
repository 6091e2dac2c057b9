"""Command line: parse, call, and turn a user's error into one line and exit code 2."""

import functools
import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from pipeline import commands
from pipeline.errors import ModelError, PipelineError
from pipeline.system import output, sandbox, stopping


def script() -> int:
    """Run the command of the command line; one that reads foreign models in a child process."""
    try:
        output.install()
        return _script()
    except SystemExit as end:  # of --help, --version, and arguments that cannot be understood
        return _flushed(end.code if isinstance(end.code, int) else 1)
    except output.Unwritable as error:
        return _unwritable(error)
    except KeyboardInterrupt:  # before the command has begun
        print("flopsmith: stopped", file=sys.stderr)
        return 130


def _script() -> int:
    args = commands.parser().parse_args()
    _quieten()
    if not getattr(args, "guarded", False):
        return _run(args)
    try:
        return sandbox.run(functools.partial(_run, args))
    except ModelError as error:
        print(f"flopsmith: {error}", file=sys.stderr)
        return 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command in this process; returns the exit code."""
    args = commands.parser().parse_args(argv)
    _quieten()
    return _run(args)


def _run(args: Any) -> int:
    try:
        code = int(args.call(args) or 0)
    except PipelineError as error:
        print(f"flopsmith: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt as stop:
        goes_on = "" if getattr(args, "guarded", False) else "; the same command goes on from here"
        print(f"flopsmith: stopped{goes_on}", file=sys.stderr)
        code = stopping.exit_code(stop)
    except BrokenPipeError:
        output.drop()
        return 0
    except output.Unwritable as error:
        return _unwritable(error)
    return _flushed(code)


def _flushed(code: int) -> int:
    """Write what is left of the output; returns `code`, or 1 if it cannot be written."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # as with `| head`: the reader has enough
        output.drop()
    except output.Unwritable as error:
        return _unwritable(error)
    return code


def _unwritable(error: output.Unwritable) -> int:
    print(f"flopsmith: cannot write the output: {error}", file=sys.stderr)
    if sys.stdout is not None:
        output.drop()
    return 1


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
