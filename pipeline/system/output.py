"""The standard output of a command: it takes every name, and says so when it cannot be written."""

import io
import os
import sys


class Unwritable(Exception):
    """The output cannot be written; not an OSError, since argparse drops these in silence."""


class Output(io.TextIOWrapper):
    """A text stream whose errors are `Unwritable`, but for a pipe that nobody reads any more.

    What its encoding does not have is written with backslashes, as in `M\\xf6we`.
    """

    def write(self, text: str) -> int:
        """Write text."""
        try:
            return super().write(text)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise Unwritable(error.strerror) from error

    def flush(self) -> None:
        """Write what is in the buffer."""
        try:
            super().flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise Unwritable(error.strerror) from error


def install() -> None:
    """Make `sys.stdout` an `Output`.

    Raises:
        Unwritable: it is closed.
    """
    if sys.stderr is None:  # it was closed by whoever has started this process
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        raise Unwritable("it is closed")
    old = sys.stdout
    if isinstance(old, io.TextIOWrapper):
        kept = {"line_buffering": old.line_buffering, "write_through": old.write_through}
        sys.stdout = Output(
            old.detach(), encoding=old.encoding, errors="backslashreplace", newline=None, **kept
        )


def drop() -> None:
    """Send what is still in the buffer nowhere, or Python would fail at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
