"""The lock that keeps two runs out of one directory."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import OutputError


@contextlib.contextmanager
def held(out: Path) -> Iterator[None]:
    """Lock the directory, so that no other process runs there.

    Raises:
        OutputError: it cannot be written to, or another process is running there.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        file = (out / ".lock").open("w")
    except OSError as error:
        raise OutputError(
            f"cannot write to the output directory. Received: {out} ({error.strerror}). "
            "Give another with --out"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"another run is using the output directory. Received: {out}. "
                "Wait for it or give another with --out"
            ) from error
        yield
