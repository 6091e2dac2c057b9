"""`flopsmith predict`: classes of images, by their names."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import cwd as cwd
from support.commands import models as models
from support.commands import pictures
from support.commands import refused as refused
from support.commands import told as told

from pipeline.__main__ import main


def test_a_prediction_names_the_classes(models: Path, told: Callable[..., str], cwd: Path) -> None:
    pictures(cwd, shots=2)
    lines = told("predict", models / "m.tflite", "shots/0.png", "shots/1.png").splitlines()
    assert [line.split(":")[0] for line in lines] == ["shots/0.png", "shots/1.png"]
    assert all({"black", "white"} < set(line.split()) for line in lines)


def test_a_prediction_as_json_has_as_many_classes_as_asked_for(
    models: Path, told: Callable[..., str], cwd: Path
) -> None:
    pictures(cwd, shots=1)
    printed = told("predict", models / "m.tflite", "shots/0.png", "--json", "--top", "1")
    (best,) = json.loads(printed)["classes"]
    assert best["label"] in ("black", "white")
    assert 0.5 <= best["score"] <= 1


@pytest.mark.parametrize("content", [None, b"", b"not a model", b"\0\0\0\0TFL3\0\0\0\0"])
def test_a_prediction_with_what_is_no_tflite_file_is_refused(
    cwd: Path, refused: Callable[..., str], content: bytes | None
) -> None:
    if content is not None:
        (cwd / "model.tflite").write_bytes(content)
    assert "model.tflite" in refused("predict", "model.tflite", "a.png")


@pytest.mark.parametrize("content", [None, b"not an image"])
def test_a_prediction_of_what_is_no_image_names_the_file(
    cwd: Path, models: Path, refused: Callable[..., str], content: bytes | None
) -> None:
    if content is not None:
        (cwd / "a.png").write_bytes(content)
    line = refused("predict", models / "m.tflite", "a.png")
    assert "an image cannot be read" in line
    assert "a.png" in line


def test_labels_of_another_model_are_refused(
    cwd: Path, models: Path, refused: Callable[..., str]
) -> None:
    (cwd / "m.tflite").write_bytes((models / "m.tflite").read_bytes())
    (cwd / "labels.txt").write_text("cat\ndog\nbird\n")
    assert "3 labels for 2 classes" in refused("predict", "m.tflite", "a.png")


@pytest.mark.parametrize("top", ["0", "-1"])
def test_fewer_classes_than_one_are_refused(refused: Callable[..., str], top: str) -> None:
    assert "--top takes a whole number from 1" in refused("predict", "m", "a.png", "--top", top)


def test_names_that_the_terminal_cannot_print_end_in_no_traceback(
    cwd: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures(cwd, shots=1)
    (cwd / "m.tflite").write_bytes((models / "m.tflite").read_bytes())
    (cwd / "labels.txt").write_text("blåbær\n猫\n", encoding="utf-8")
    printed = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", printed)
    assert main(["predict", "m.tflite", "shots/0.png"]) == 0
    printed.flush()
    said = printed.buffer.getvalue().decode("ascii")
    assert r"bl\xe5b\xe6r" in said
    assert r"\u732b" in said
