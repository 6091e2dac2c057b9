"""Standard output that is full, closed, or of few letters: one line, and no traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import pipeline

ROOT = Path(pipeline.__file__).parents[1]


def shell(command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command of a shell in which `flopsmith` is this project's."""
    return subprocess.run(
        ["bash", "-c", f'flopsmith() {{ "{sys.executable}" -m pipeline "$@"; }}; {command}'],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", ["completion bash", "--help", "predict --help", "--version"])
def test_output_that_is_full_is_one_line(words: str, unbuffered: str) -> None:
    ended = shell(f"flopsmith {words} > /dev/full", PYTHONUNBUFFERED=unbuffered)
    assert ended.returncode == 1
    assert ended.stderr == "flopsmith: cannot write the output: No space left on device\n"


@pytest.mark.parametrize("words", ["completion bash", "predict model.tflite a.png"])
def test_output_that_is_closed_is_one_line(words: str) -> None:
    ended = shell(f"flopsmith {words} >&-")
    assert ended.returncode == 1
    assert ended.stderr == "flopsmith: cannot write the output: it is closed\n"


def test_a_reader_that_has_enough_is_no_error() -> None:
    ended = shell("flopsmith completion bash | head -1; exit ${PIPESTATUS[0]}")
    assert ended.returncode == 0
    assert ended.stderr == ""


def test_without_a_standard_error_a_command_works() -> None:
    ended = shell("flopsmith completion bash 2>&-")
    assert ended.returncode == 0
    assert "predict" in ended.stdout


def test_names_that_the_terminal_does_not_have_are_printed_with_backslashes(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/mowe.yaml").write_text(
        "description: Möwe\ndata: digits\nstages: [report]\n", encoding="utf-8"
    )
    ended = shell(f"cd {tmp_path} && flopsmith recipes", PYTHONIOENCODING="ascii")
    assert ended.returncode == 0
    assert "M\\xf6we" in ended.stdout
