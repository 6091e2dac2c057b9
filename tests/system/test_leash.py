"""A process ends with the one that started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.system import leash

CODE = """
import os, sys, time
from pipeline.system import leash
parent = os.getpid()
if os.fork():
    time.sleep(600)
leash.end_with(parent + WRONG)
print(os.getpid(), flush=True)
sum(range(10**11))  # holds the interpreter, as C++ code does
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone can")


def start(wrong: int) -> "subprocess.Popen[str]":
    env = {**os.environ, "PYTHONPATH": str(Path(leash.__file__).parents[2])}
    command = [sys.executable, "-c", CODE.replace("WRONG", str(wrong))]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


def test_a_process_ends_when_its_parent_is_killed() -> None:
    parent = start(0)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    os.kill(child, 0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(50):
        state = Path(f"/proc/{child}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.1)
    else:
        pytest.fail("it lives on")
    parent.stdout.close()


def test_a_process_whose_parent_is_gone_already_ends_at_once() -> None:
    parent = start(1)
    assert parent.stdout is not None
    time.sleep(0.1)
    parent.kill()
    assert parent.communicate(timeout=60)[0] == ""
