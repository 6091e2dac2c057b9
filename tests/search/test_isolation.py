"""A process of its own: what it returns, prints, and how it may end."""

import os
import signal
import subprocess
import sys
import tempfile
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
        if not alive(pid):
            return True
        time.sleep(0.1)
    return False


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait for its new parent to notice."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


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


@pytest.mark.slow
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


# scripts of all kinds: none of them is imported in the new process

SCRIPT = """
import os, sys
from pathlib import Path
print('ran', flush=True)
from pipeline.search import isolation
import test_isolation as t
isolation.SERVER = 'math'  # without Keras, which takes seconds to import
isolation.call(t.add, {{'a': 2, 'b': 3}}, Path({place!r}), lambda event: None)
print('done', flush=True)
"""
WAYS = {
    "a script": "{python} script.py",
    "standard input": "{python} - < script.py",
    "an argument": '{python} -c "$(cat script.py)"',
    "runpy": "{python} -c \"import runpy; runpy.run_path('script.py', run_name='__main__')\"",
    "a module": "{python} -m script",
    "a notebook": "{python} -c \"exec(compile(open('script.py').read(), '<cell>', 'exec'), {{}})\"",
    "interactive": "{python} -i script.py < /dev/null",
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_script_needs_no_guard(tmp_path: Path, way: str) -> None:
    (tmp_path / "script.py").write_text(SCRIPT.format(place=str(tmp_path)))
    root, here = str(Path(isolation.__file__).parents[2]), str(Path(__file__).parent)
    ended = subprocess.run(
        WAYS[way].format(python=sys.executable),
        shell=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{root}:{here}"},
        capture_output=True,
        text=True,
    )
    assert ended.stdout.split() == ["ran", "done"], ended.stderr


# temporary files, and processes that stay behind


def write_temporary(send: Callable[[Any], None]) -> str:
    place = tempfile.mkstemp(prefix="__autograph_generated_file")[1]
    send(place)
    return place


def write_and_last(send: Callable[[Any], None]) -> None:
    send((os.getpid(), os.getppid(), write_temporary(lambda _: None)))
    sum(range(10**11))  # holds the interpreter, as C++ code does


def test_temporary_files_of_a_process_are_deleted(tmp_path: Path) -> None:
    place = Path(isolation.call(write_temporary, {}, tmp_path, print))
    assert not place.exists()
    assert not place.parent.exists()


def test_temporary_files_of_a_process_that_dies_are_deleted(tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []

    def stop(event: tuple[int, int, str]) -> None:
        seen.append(event)
        os.kill(event[0], signal.SIGKILL)

    with pytest.raises(isolation.CrashError):
        isolation.call(write_and_last, {}, tmp_path, stop)
    assert not Path(seen[0][2]).exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone can")
def test_a_killed_caller_takes_its_server_along_at_once(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path\n"
        "from pipeline.search import isolation; import test_isolation as t\n"
        "say = lambda pids: print(*pids[:2], flush=True)\n"
        f"isolation.call(t.write_and_last, {{}}, Path({str(tmp_path)!r}), say)"
    )
    root, here = str(Path(isolation.__file__).parents[2]), str(Path(__file__).parent)
    caller = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{root}:{here}", "TMPDIR": str(tmp_path)},
    )
    assert caller.stdout is not None
    pids = [int(pid) for pid in caller.stdout.readline().split()]
    assert len(pids) == 2
    caller.kill()
    caller.wait()
    start = time.monotonic()
    assert all(gone(pid) for pid in pids)
    assert time.monotonic() - start < 5
    caller.stdout.close()
    assert list(tmp_path.glob("flopsmith-scratch-*"))  # which the next start deletes
    env = os.environ | {"PYTHONPATH": root, "TMPDIR": str(tmp_path)}
    sweep = "from pipeline.system import scratch; scratch.folder()"
    subprocess.run([sys.executable, "-c", sweep], env=env, check=True)
    assert not list(tmp_path.glob("flopsmith-scratch-*"))


def test_a_signal_for_all_processes_is_left_to_the_caller(tmp_path: Path) -> None:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        assert isolation.call(survive, {"number": int(number)}, tmp_path, print) == number


def survive(number: int, send: Callable[[Any], None]) -> int:
    for pid in (os.getpid(), os.getppid()):
        os.kill(pid, number)
    return number
