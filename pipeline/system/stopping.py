"""Signals that ask a command to stop: each arrives as Ctrl-C does, so that runs end in order."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

ASKED = ("SIGHUP", "SIGINT", "SIGTERM")  # signals that a user or the system sends to stop a command


class StoppedError(KeyboardInterrupt):
    """A signal has asked the command to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def as_interrupt() -> Iterator[None]:
    """Raise `StoppedError` where SIGTERM or SIGHUP arrives; both would end the process at once.

    A signal that is ignored stays ignored (`nohup` does that), and one that the program handles
    already stays with it. Outside of the main thread, where Python does not allow it, nothing
    changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ASKED if hasattr(signal, name)]
    taken = [one for one in numbers if signal.getsignal(one) is signal.SIG_DFL]
    for one in taken:
        signal.signal(one, _stop)
    try:
        yield
    finally:
        for one in taken:
            signal.signal(one, signal.SIG_DFL)


def exit_code(stop: KeyboardInterrupt) -> int:
    """The exit code of a command that was stopped: 128 + the number of the signal."""
    return 128 + (stop.number if isinstance(stop, StoppedError) else signal.SIGINT)


def ignore() -> None:
    """Leave these signals to the process that started this one, which ends it."""
    for name in ASKED:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _stop(number: int, frame: FrameType | None) -> None:
    """End in order; what asks again meanwhile is ignored, SIGKILL and Ctrl-C excepted."""
    signal.signal(number, signal.SIG_IGN)
    if signal.Signals(number).name == "SIGHUP":
        _let_go_of_terminal()
    raise StoppedError(number)


def _let_go_of_terminal() -> None:
    """Write no more to a terminal that has been closed: every write would be an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            if stream.isatty():
                os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
