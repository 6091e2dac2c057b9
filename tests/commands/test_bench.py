"""`flopsmith bench`: what it prints, and one line for whatever is wrong."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.small import two_convolutions

from pipeline.__main__ import main
from pipeline.tflite import convert, write

Flopsmith = Callable[..., str]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def small(place: Path) -> Path:
    (path := place / "small.tflite").write_bytes(convert.convert_float(two_convolutions(4)))
    return path


@pytest.fixture(scope="module")
def large(place: Path) -> Path:
    (path := place / "large.tflite").write_bytes(convert.convert_float(two_convolutions(64)))
    return path


@pytest.fixture(scope="module")
def int8(place: Path) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype(np.float32)
    (path := place / "int8.tflite").write_bytes(convert.ptq(two_convolutions(64), images))
    return path


@pytest.fixture
def flopsmith(capsys: pytest.CaptureFixture[str]) -> Flopsmith:
    """What the command prints, on standard error where it fails; in this process, to save time."""

    def said(*argv: object, code: int = 0) -> str:
        found = main(["bench", *map(str, argv)])
        captured = capsys.readouterr()
        assert found == code, captured.err
        return captured.err if code else captured.out

    return said


def test_json_holds_what_was_measured(int8: Path, large: Path, flopsmith: Flopsmith) -> None:
    options = ["--threads", "1,2", "--ops", "--runs", 40, "--seconds", 0.2, "--json"]
    found = json.loads(flopsmith(int8, "--vs", large, *options))
    assert [file["file"] for file in found["files"]] == [str(int8), str(large)]
    for file, path in zip(found["files"], (int8, large), strict=True):
        assert file["size_bytes"] == path.stat().st_size
        assert [t["threads"] for t in file["timings"]] == [1, 2]
        times = file["operator_times"]
        assert times["sum_us"] == pytest.approx(sum(r["microseconds"] for r in times["rows"]))
        taken = [row["microseconds"] for row in times["rows"]]
        assert taken == sorted(taken, reverse=True)
    ratio = large.stat().st_size / int8.stat().st_size
    assert found["comparison"]["size_ratio"] == pytest.approx(ratio)
    for row in found["comparison"]["speedups"]:
        assert row["low"] <= row["high"]


def test_text_names_both_files_and_the_slowest_operators(
    int8: Path, large: Path, flopsmith: Flopsmith
) -> None:
    options = ["--ops", "--top", 1, "--runs", 40, "--seconds", 0.2]
    said = flopsmith(int8, "--vs", large, *options)
    assert "int8.tflite is " in said
    assert "95% interval" in said
    assert f"{int8}: takes uint8 1x16x16x3; " in said
    assert f"{large}: takes float32 1x16x16x3; " in said
    assert said.count("CONV_2D") == 2
    assert "faster ones (--top " in said
    assert "The sum is not the whole" in said


def test_files_of_one_name_are_told_apart_by_their_folders(
    small: Path, place: Path, flopsmith: Flopsmith
) -> None:
    (place / "other").mkdir()
    (other := place / "other" / small.name).write_bytes(small.read_bytes())
    said = flopsmith(small, "--vs", other, "--runs", 5, "--seconds", 0.1)
    assert f"{small} is " in said
    assert f"as fast as {other} " in said


def test_layers_are_told_where_the_file_names_them(
    small: Path, place: Path, flopsmith: Flopsmith
) -> None:
    (bare := place / "bare.tflite").write_bytes(write.stripped(small.read_bytes()))
    named, without = (flopsmith(x, "--ops", "--runs", 5, "--seconds", 0.1) for x in (small, bare))
    assert "second" in named
    assert "operator         output" in without


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--threads", "0"], "--threads takes whole numbers from 1 to 64"),
        (["--threads", "1,,2"], "--threads takes whole numbers from 1 to 64"),
        (["--threads", "65"], "--threads takes whole numbers from 1 to 64"),
        (["--runs", "0"], "--runs takes a whole number from 1"),
        (["--top", "-1"], "--top takes a whole number from 1"),
        (["--seconds", "nan"], "--seconds takes a number in"),
        (["--device", "any", "--ops"], "--ops times operators on this machine"),
        (["--benchmark-model", "program"], "--benchmark-model is a program for a phone"),
    ],
    ids=str,
)
def test_an_option_out_of_range_is_one_line(
    small: Path, options: list[str], message: str, flopsmith: Flopsmith
) -> None:
    said = flopsmith(small, *options, code=2)
    assert said.startswith(f"flopsmith: {message}")
    assert said.count("\n") == 1


@pytest.mark.parametrize("content", [b"", b"TFL3" * 9, b"\0\0\0\0TFL3" + b"\xff" * 99], ids=str)
def test_a_file_that_is_no_model_is_one_line_that_names_it(
    place: Path, content: bytes, flopsmith: Flopsmith
) -> None:
    (path := place / "bad.tflite").write_bytes(content)
    said = flopsmith(path, code=2)
    assert said.startswith(f"flopsmith: {path}: ")
    assert said.count("\n") == 1


def test_a_name_that_is_no_text_is_one_line(small: Path, place: Path, flopsmith: Flopsmith) -> None:
    def change(root: Any) -> None:
        graph = root.subgraphs[0]
        graph.tensors[graph.inputs[0]].name = b"\xba\xba"

    (path := place / "name.tflite").write_bytes(write.changed(small.read_bytes(), change))
    said = flopsmith(path, code=2)
    assert said.startswith(f"flopsmith: {path}: LiteRT refuses the model")
    assert said.count("\n") == 1


def test_a_missing_other_file_is_one_line(small: Path, place: Path, flopsmith: Flopsmith) -> None:
    said = flopsmith(small, "--vs", place / "missing.tflite", code=2)
    assert "cannot read the model" in said
    assert said.count("\n") == 1


def test_the_command_needs_no_keras(small: Path) -> None:
    code = (
        "import sys; from pipeline.__main__ import main\n"
        f"main(['bench', {str(small)!r}, '--runs', '5', '--ops', '--seconds', '0.1'])\n"
        "sys.exit(any(name in sys.modules for name in ('keras', 'tensorflow')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
