"""`flopsmith predict`: classes of images, by their names."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from support.commands import cwd as cwd
from support.commands import models as models
from support.commands import pictures
from support.commands import refused as refused
from support.commands import told as told

from pipeline.__main__ import main
from pipeline.tflite import convert


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


def test_a_folder_is_classified_with_its_sub_folders_in_order(
    cwd: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures(cwd / "shots", cats=2, dogs=1)
    (cwd / "shots/notes.txt").write_text("not an image")
    (cwd / "shots/cats/table.csv").write_text("a,b")
    assert main(["predict", str(models / "m.tflite"), "shots"]) == 0
    said = capsys.readouterr()
    assert [line.split(":")[0] for line in said.out.splitlines()] == [
        "shots/cats/0.png",
        "shots/cats/1.png",
        "shots/dogs/0.png",
    ]
    assert said.err == (
        "flopsmith: shots: left out what are no images by their names: 1 .csv, 1 .txt\n"
    )


def test_a_pattern_that_no_shell_has_expanded_is_expanded(
    cwd: Path, models: Path, told: Callable[..., str]
) -> None:
    pictures(cwd, shots=3)
    lines = told("predict", models / "m.tflite", "shots/[01].png").splitlines()
    assert [line.split(":")[0] for line in lines] == ["shots/0.png", "shots/1.png"]


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_an_unreadable_image_among_several_is_named_and_the_others_are_classified(
    cwd: Path, models: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    pictures(cwd, shots=200)
    (cwd / "shots/5.png").write_bytes(b"not an image")
    assert main(["predict", str(models / "m.tflite"), "shots", *option]) == 1
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 199
    assert all(json.loads(line)["classes"] for line in said.out.splitlines() if option)
    first, last = said.err.splitlines()
    assert first.startswith("flopsmith: an image cannot be read: ")
    assert "shots/5.png" in first
    assert last == "flopsmith: 1 of 200 images cannot be read"


@pytest.mark.parametrize("word", ["empty", "*.png"])
def test_where_there_is_no_image_that_is_said(
    cwd: Path, models: Path, refused: Callable[..., str], word: str
) -> None:
    (cwd / "empty").mkdir()
    said = refused("predict", models / "m.tflite", word)
    assert f"there are no images. Received: {word}." in said


def test_a_model_that_returns_nan_is_refused(cwd: Path, refused: Callable[..., str]) -> None:
    pictures(cwd, shots=1)
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))
    model.set_weights([np.full((64, 2), np.nan, np.float32), np.zeros(2, np.float32)])
    (cwd / "m.tflite").write_bytes(convert.convert_float(model))
    said = refused("predict", "m.tflite", "shots/0.png")
    assert "the model returns NaN or infinite scores" in said


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
