"""Temporary files of a process: where they are, and that none stays, however the process ends."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.system import scratch

ROOT = str(Path(scratch.__file__).parents[2])
CODE = (
    "import os, sys, tempfile, time; from pipeline.system import scratch\n"
    "with scratch.used():\n"
    "    open(tempfile.mkstemp()[1], 'w').write('x'); print(tempfile.gettempdir(), flush=True)\n"
    "    sys.stdin.read()\n"
)


@pytest.fixture
def base() -> Iterator[Path]:
    """An empty folder with a short path: with a long one, multiprocessing makes another."""
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        yield Path(place)


def start(base: Path) -> "subprocess.Popen[str]":
    env = {**os.environ, "PYTHONPATH": ROOT, "TMPDIR": str(base)}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", CODE], env=env, text=True, stdin=pipe, stdout=pipe
    )


def folder(started: "subprocess.Popen[str]") -> Path:
    assert started.stdout is not None
    return Path(started.stdout.readline().strip())


def end(started: "subprocess.Popen[str]") -> None:
    started.communicate("")
    assert started.returncode == 0


def test_temporary_files_are_made_there_and_elsewhere_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    before = tempfile.gettempdir()
    with scratch.used():
        assert Path(tempfile.mkdtemp()).parent == scratch.folder()
        assert os.environ["TMPDIR"] == str(scratch.folder())
    assert tempfile.gettempdir() == before
    assert "TMPDIR" not in os.environ


def test_nothing_is_left_at_a_regular_end(base: Path) -> None:
    started = start(base)
    place = folder(started)
    assert place.parent == base
    assert len(list(place.glob("tmp*"))) == 1
    end(started)
    assert not list(base.iterdir())


def test_what_a_killed_process_has_left_goes_at_the_next_start(base: Path) -> None:
    killed = start(base)
    place = folder(killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert list(place.glob("tmp*"))
    end(start(base))
    assert not list(base.iterdir())


def test_what_a_living_process_has_stays(base: Path) -> None:
    living = start(base)
    place = folder(living)
    end(start(base))
    assert list(place.glob("tmp*"))
    end(living)


def test_what_others_have_made_stays(base: Path) -> None:
    (base / "target").mkdir()
    (base / "target" / scratch.LOCK).write_text("")
    (base / f"{scratch.PREFIX}link").symlink_to(base / "target")
    (base / f"{scratch.PREFIX}new").mkdir()  # not locked yet
    before = sorted(base.rglob("*"))
    end(start(base))
    assert sorted(base.rglob("*")) == before


def test_a_folder_of_a_long_name_leaves_room_for_the_sockets_of_processes(base: Path) -> None:
    place = base / ("long" * 20)
    place.mkdir()
    code = (
        "import socket; from multiprocessing import util; from pipeline.system import scratch\n"
        "with scratch.used(), socket.socket(socket.AF_UNIX) as listener:\n"
        "    listener.bind(util.get_temp_dir() + '/listener-abcdefgh'); print('bound')\n"
    )
    env = {**os.environ, "PYTHONPATH": ROOT, "TMPDIR": str(place)}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=env, text=True, capture_output=True, check=False
    )
    assert ended.stdout == "bound\n", ended.stderr
