"""Run a command that reads foreign model files in a process of its own.

LiteRT trusts the numbers in a file. A broken file can crash the process with a signal, which Python
cannot turn into an error. So the command runs in a child process, and its crash becomes one line.
"""

import os
import signal
import sys
from collections.abc import Callable

from pipeline.errors import ModelError
from pipeline.system import leash
from pipeline.system.stopping import ASKED

SOFTWARE = 70  # exit code of an error that is a fault of this program; its traceback is printed


def run(command: Callable[[], int]) -> int:
    """Return the exit code of `command()` in a forked process; 128 + the signal that stopped it.

    Call it while there is one thread, so before TensorFlow is imported.

    Raises:
        ModelError: the process died of another signal.
    """
    if not hasattr(os, "fork"):
        return command()
    sys.stdout.flush()
    sys.stderr.flush()
    parent, child = os.getpid(), os.fork()
    if not child:
        leash.end_with(parent)
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
    """Run the command in the child and exit, without returning to the code of the parent."""
    code = SOFTWARE
    try:
        code = command()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        if sys.exc_info()[1] is not None and code == SOFTWARE:
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        _flush()
        os._exit(code)  # skips exit handlers of libraries, which take time and can hang


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _wait(child: int) -> int:
    """Wait for the child and return its status; ignore SIGINT, forward SIGTERM and SIGHUP.

    Ctrl-C sends SIGINT to both processes: the child handles it and says so.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # `nohup` ignores SIGHUP for both
            signal.signal(number, lambda got, _: os.kill(child, got))
    return os.waitpid(child, 0)[1]
