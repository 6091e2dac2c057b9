"""Run a command that reads foreign model files in a process of its own.

LiteRT computes what a file says. A broken file can end the process that it runs in, by a signal
that no handler turns into an error; so that process is a child, and what ended it becomes one line.
"""

import os
import signal
import sys
from collections.abc import Callable

from pipeline.errors import ModelError

ASKED = ("SIGHUP", "SIGINT", "SIGTERM")  # sent to end a command, whatever it does
SOFTWARE = 70  # exit code of an error that we did not foresee; its traceback is printed


def run(command: Callable[[], int]) -> int:
    """Return what `command()` returns in a forked process; 128 + the signal if it was told to end.

    Call it while there is one thread, so before TensorFlow is imported.

    Raises:
        ModelError: the process died of another signal.
    """
    if not hasattr(os, "fork"):
        return command()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        _work(command)
    status = _wait(child)
    if os.WIFEXITED(status):
        return os.WEXITSTATUS(status)
    number = os.WTERMSIG(status)
    if signal.Signals(number).name in ASKED:
        return 128 + number
    if number == signal.SIGKILL:
        reason = "it was killed (SIGKILL); the system does that when memory runs out"
    else:
        reason = f"LiteRT died of signal {number} ({signal.Signals(number).name})"
    raise ModelError(
        f"the model cannot be run safely: {reason}. The file is broken, or made to do harm; "
        "export the model again"
    )


def _work(command: Callable[[], int]) -> None:
    """What the child does; it never returns to the parent's code."""
    code = SOFTWARE
    try:
        code = command()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        if sys.exc_info()[1] is not None and code == SOFTWARE:
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        _flush()
        os._exit(code)  # what libraries do at exit takes time and can hang


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _wait(child: int) -> int:
    """Its status. Ctrl-C reaches both, and the child says so; what ends us is to end it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    return os.waitpid(child, 0)[1]
