"""Run a function in a process of its own, which may crash without ending the search.

A crash, a kill for lack of memory or a memory leak stays in that process. Keras is imported once,
in a server that every such process is forked from: a start costs about 10 ms.
"""

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pipeline.system import quiet

PRELOAD = ["pipeline.search.trial"]
LOG = "log.txt"  # output of the process
TAIL = 2000  # characters at its end that an error message repeats


class CrashError(RuntimeError):
    """The process ended without a result."""


def call(
    function: Callable[..., Any],
    options: Mapping[str, Any],
    directory: Path,
    on_event: Callable[[Any], None],
) -> Any:
    """Return what `function(**options, send=...)` returns in a new process.

    Args:
        function: Importable by its name; what it passes to `send` arrives at `on_event`.
        options: Keyword arguments that can be pickled.
        directory: Where the process's output is written, to `log.txt`.
        on_event: Called with every event, while the function runs.

    Raises:
        CrashError: the process died; says how, and the last that it printed.
    """
    context = _context()
    ours, theirs = context.Pipe()
    log = directory / LOG
    process = context.Process(target=_work, args=(theirs, function, dict(options), log))
    with quiet.muted():
        process.start()  # the first one starts the server, where libraries print as they load
    theirs.close()
    try:
        while True:
            kind, content = ours.recv()
            if kind == "result":
                return content
            on_event(content)
    except EOFError:
        process.join()
        raise CrashError(_how(process.exitcode or 0, log)) from None
    finally:
        ours.close()  # the child exits when its end of the pipe is closed
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()


def _context() -> Any:
    """A fork server where forking after an import is safe, a new interpreter elsewhere."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


def _work(
    connection: Connection, function: Callable[..., Any], options: dict[str, Any], log: Path
) -> None:
    """Run the function in the new process, and send its events and result to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    with log.open("ab", buffering=0) as file:
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
