"""A process of its own: what it returns, prints, and how it may end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.search import isolation


def add(a: int, b: int, send: Callable[[Any], None]) -> int:
    for number in (a, b):
        send(number)
    return a + b


def whoami(send: Callable[[Any], None]) -> int:
    return os.getpid()


def die(how: str, send: Callable[[Any], None]) -> None:
    os.write(1, b"the last words\n")
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "crashed":
        os.kill(os.getpid(), signal.SIGSEGV)
    raise SystemExit(3)


def last_for_ever(send: Callable[[Any], None]) -> None:
    send(os.getpid())
    time.sleep(600)


def gone(pid: int) -> bool:
    """Whether a process has ended, within a few seconds."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_a_result_and_events_come_back(tmp_path: Path) -> None:
    events: list[int] = []
    assert isolation.call(add, {"a": 2, "b": 3}, tmp_path, events.append) == 5
    assert events == [2, 3]


def test_every_call_is_another_process(tmp_path: Path) -> None:
    pids = {isolation.call(whoami, {}, tmp_path, print) for _ in range(3)}
    assert len(pids | {os.getpid()}) == 4


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("killed", "killed (SIGKILL); the system does that when memory runs out"),
        ("crashed", "died of signal 11 (SIGSEGV)"),
        ("left", "ended with exit code 3"),
    ],
)
def test_a_death_is_an_error_that_says_how_and_what_was_printed(
    tmp_path: Path, how: str, what: str
) -> None:
    with pytest.raises(isolation.CrashError, match="the last words") as caught:
        isolation.call(die, {"how": how}, tmp_path, print)
    assert what in str(caught.value).splitlines()[-1]


def test_an_error_of_the_caller_ends_the_process(tmp_path: Path) -> None:
    pids: list[int] = []

    def stop(pid: int) -> None:
        pids.append(pid)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        isolation.call(last_for_ever, {}, tmp_path, stop)
    assert gone(pids[0])


def test_a_killed_caller_leaves_no_process_behind(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path\n"
        "from pipeline.search import isolation; import test_isolation as t\n"
        "say = lambda pid: print(pid, flush=True)\n"
        f"isolation.call(t.last_for_ever, {{}}, Path({str(tmp_path)!r}), say)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    caller = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert caller.stdout is not None
    pid = int(caller.stdout.readline())
    caller.kill()
    caller.wait()
    assert gone(pid)
