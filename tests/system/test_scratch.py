"""Temporary files of a process: where they are, and that none stays, however the process ends."""

import os
import signal
import subprocess
import sys
import tempfile
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


def test_nothing_is_left_at_a_regular_end(tmp_path: Path) -> None:
    started = start(tmp_path)
    place = folder(started)
    assert place.parent == tmp_path
    assert len(list(place.glob("tmp*"))) == 1
    end(started)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_has_left_goes_at_the_next_start(tmp_path: Path) -> None:
    killed = start(tmp_path)
    place = folder(killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert list(place.glob("tmp*"))
    end(start(tmp_path))
    assert not list(tmp_path.iterdir())


def test_what_a_living_process_has_stays(tmp_path: Path) -> None:
    living = start(tmp_path)
    place = folder(living)
    end(start(tmp_path))
    assert list(place.glob("tmp*"))
    end(living)


def test_what_others_have_made_stays(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / scratch.LOCK).write_text("")
    (tmp_path / f"{scratch.PREFIX}link").symlink_to(tmp_path / "target")
    (tmp_path / f"{scratch.PREFIX}new").mkdir()  # not locked yet
    before = sorted(tmp_path.rglob("*"))
    end(start(tmp_path))
    assert sorted(tmp_path.rglob("*")) == before
