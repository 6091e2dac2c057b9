"""Signals that ask to stop: what they raise, once, and where."""

import os
import signal
import threading

import pytest

from pipeline.system import stopping
from pipeline.system.stopping import StoppedError


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_arrives_as_ctrl_c_does(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_DFL)  # `nohup` ignores one of them, and so do its children
    with pytest.raises(KeyboardInterrupt) as caught, stopping.as_interrupt():
        os.kill(os.getpid(), number)
    assert isinstance(caught.value, StoppedError)
    assert stopping.exit_code(caught.value) == 128 + number
    assert signal.getsignal(number) is signal.SIG_DFL


def test_ctrl_c_has_the_exit_code_that_shells_know() -> None:
    assert stopping.exit_code(KeyboardInterrupt()) == 130


def test_a_second_one_does_not_disturb_the_end() -> None:
    ended = False
    with pytest.raises(StoppedError), stopping.as_interrupt():  # noqa: PT012
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            ended = True
    assert ended


def test_what_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
    try:
        with stopping.as_interrupt():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_a_handler_of_the_program_stays() -> None:
    got: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: got.append(number))
    try:
        with stopping.as_interrupt():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert got == [signal.SIGTERM]


def test_in_another_thread_nothing_changes() -> None:
    seen: list[object] = []

    def look() -> None:
        with stopping.as_interrupt():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]
