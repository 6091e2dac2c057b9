"""Run a function in a process of its own, which may crash without ending the search.

A crash, a kill for lack of memory or a memory leak stays in that process. Keras is imported once,
in a server that every such process is forked from: a start costs about 10 ms.

The script that asks for a search is not imported in the new process. So it needs no
`if __name__ == "__main__":`, and it may be a notebook or come from standard input.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pipeline.system import leash, quiet, scratch, stopping

SERVER = "pipeline.search.server"
TRIAL = "pipeline.search.trial"
LOG = "log.txt"  # output of the process
TAIL = 2000  # characters at its end that an error message repeats


class CrashError(RuntimeError):
    """The process ended without a result."""


@dataclass(frozen=True)
class _Place:
    """Where a new process writes."""

    log: Path  # what it prints
    temporary: Path  # folder of its temporary files


class Isolated:
    """A function that runs in a new process; `receive` takes what it sends, until it returns."""

    def __init__(
        self, function: Callable[..., Any], options: Mapping[str, Any], directory: Path
    ) -> None:
        """Start the process.

        Args:
            function: Importable by its name; what it passes to `send` arrives at `receive`.
            options: Keyword arguments that can be pickled.
            directory: Where the process's output is written, to `log.txt`.
        """
        self._left = contextlib.ExitStack()
        self._left.enter_context(scratch.used())
        temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._place = _Place(directory / LOG, Path(self._left.enter_context(temporary)))
        context = _context()
        self.connection, theirs = context.Pipe()
        given = (theirs, function, dict(options), self._place)
        self._process = context.Process(target=_work, args=given)
        with quiet.muted(), _no_script():
            self._process.start()  # the first starts the server, where libraries print as they load
        theirs.close()

    def receive(self) -> tuple[bool, Any]:
        """Wait for what comes next: whether it is what the function returned, and what it is.

        Raises:
            CrashError: the process died; says how, and the last that it printed.
        """
        try:
            kind, content = self.connection.recv()
        except EOFError:
            self._process.join()
            raise CrashError(_how(self._process.exitcode or 0, self._place.log)) from None
        return kind == "result", content

    def end(self) -> None:
        """End the process, if it has not ended, and delete its temporary files."""
        self.connection.close()  # the child exits when its end of the pipe is closed
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._left.close()


def call(
    function: Callable[..., Any],
    options: Mapping[str, Any],
    directory: Path,
    on_event: Callable[[Any], None],
) -> Any:
    """Return what `function(**options, send=...)` returns in a new process.

    Args:
        function: As in `Isolated`.
        options: As there.
        directory: As there.
        on_event: Called with every event, while the function runs.

    Raises:
        CrashError: the process died; says how, and the last that it printed.
    """
    process = Isolated(function, options, directory)
    try:
        while True:
            is_result, content = process.receive()
            if is_result:
                return content
            on_event(content)
    finally:
        process.end()


def _context() -> Any:
    """A fork server where forking after an import is safe, a new interpreter elsewhere."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # The system ends the server with the thread that starts it; only the main thread is sure to
    # live as long as the process. Started by another one, the server ends when its pipe is closed.
    is_main = threading.current_thread() is threading.main_thread()
    context.set_forkserver_preload([SERVER if is_main else TRIAL])
    return context


@contextlib.contextmanager
def _no_script() -> Iterator[None]:
    """Hide the script of this process from multiprocessing, which would run it in the new one."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def _work(
    connection: Connection, function: Callable[..., Any], options: dict[str, Any], place: _Place
) -> None:
    """Run the function in the new process, and send its events and result to the parent."""
    leash.end_with(os.getppid())
    stopping.ignore()  # Ctrl-C and the like are for the parent to handle
    scratch.use(place.temporary)
    with place.log.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    threading.Thread(target=_end_with_parent, args=(connection,), daemon=True).start()

    def send(kind: str, content: Any) -> None:
        try:
            connection.send((kind, content))
        except OSError:  # the parent is gone, which is no error of the function
            os._exit(1)

    send("result", function(**options, send=lambda event: send("event", event)))
    logging.shutdown()
    os._exit(0)  # skips exit handlers of libraries, which take time and can hang


def _end_with_parent(connection: Connection) -> None:
    try:
        connection.recv()
    except (EOFError, OSError):
        os._exit(1)


def _how(exitcode: int, log: Path) -> str:
    """Say how a process ended, in lines of which the last is the most telling."""
    said = log.read_text(encoding="utf-8", errors="replace")[-TAIL:].strip() if log.exists() else ""
    if exitcode == -signal.SIGKILL:
        reason = "was killed (SIGKILL); the system does that when memory runs out"
    elif exitcode < 0:
        reason = f"died of signal {-exitcode} ({signal.Signals(-exitcode).name})"
    else:
        reason = f"ended with exit code {exitcode}"
    return f"{said}\nthe trial's process {reason}".strip()
