"""Images in, best classes out; and one line for whatever is wrong with a file."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from pipeline.data.pictures import Form
from pipeline.errors import DataError, ModelError
from pipeline.tflite import convert, metadata, predict, write

CLASSES = 3


def brightness(channels: int) -> bytes:
    """A file whose scores are 0.1, 0.2 and 0.7 for white, and 1/3 each for black."""
    inputs = keras.Input((8, 8, channels))
    dense = layers.Dense(CLASSES)
    mean = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, layers.Softmax()(dense(mean)))
    logits = np.log([0.1, 0.2, 0.7]) / channels
    dense.set_weights([np.tile(logits, (channels, 1)), np.zeros(CLASSES)])
    return convert.convert_float(model)


@pytest.fixture(scope="module", params=[1, 3], ids=["grey", "colour"])
def content(request: pytest.FixtureRequest) -> bytes:
    return brightness(request.param)


@pytest.fixture
def model(content: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    (tmp_path / "labels.txt").write_text("cat\ndog\nblåbær\n", encoding="utf-8")
    return path


def picture(path: Path, mode: str = "RGB", colour: str = "white") -> Path:
    Image.new(mode, (20, 12), colour).save(path)
    return path


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp"])
def test_the_best_classes_of_a_picture_come_first(model: Path, suffix: str, mode: str) -> None:
    best = predict.classify(*predict.load(model), picture(model.parent / f"a.{suffix}", mode), 2)
    assert best == [{"label": "blåbær", "score": 0.7}, {"label": "dog", "score": 0.2}]


def test_a_picture_is_fitted_as_the_model_says(model: Path) -> None:
    wide = model.parent / "wide.png"
    image = Image.new("RGB", (300, 10), "white")
    image.paste("black", (100, 0, 200, 10))  # in the centre, which is all that a crop keeps
    image.save(wide)
    seen = {}
    for fit in ("crop", "stretch"):
        model.write_bytes(metadata.with_form(model.read_bytes(), Form(fit=fit)))
        runner, labels = predict.load(model)
        seen[fit] = predict.classify(runner, labels, wide, 3)[-1]["score"]
    assert seen["crop"] == pytest.approx(1 / 3, abs=0.01)  # black
    assert seen["stretch"] < 0.25  # mostly white


def test_no_more_classes_are_given_than_there_are(model: Path) -> None:
    best = predict.classify(*predict.load(model), picture(model.parent / "a.png"), 100)
    assert [one["label"] for one in best] == ["blåbær", "dog", "cat"]


def test_equal_scores_keep_the_order_of_the_classes(model: Path) -> None:
    black = picture(model.parent / "a.png", colour="black")
    best = predict.classify(*predict.load(model), black, 3)
    assert [one["label"] for one in best] == ["cat", "dog", "blåbær"]


def test_classes_without_names_have_numbers(model: Path) -> None:
    (model.parent / "labels.txt").unlink()
    best = predict.classify(*predict.load(model), picture(model.parent / "a.png"), 3)
    assert [one["label"] for one in best] == ["2", "1", "0"]


def test_labels_inside_the_model_are_used_where_there_is_no_file_beside_it(model: Path) -> None:
    (model.parent / "labels.txt").unlink()
    inside = metadata.put(model.read_bytes(), metadata.About("x"), ["in", "side", "it"])
    model.write_bytes(inside)
    best = predict.classify(*predict.load(model), picture(model.parent / "a.png"), 3)
    assert [one["label"] for one in best] == ["it", "side", "in"]


def test_labels_beside_the_model_count_more_than_those_inside(model: Path) -> None:
    inside = metadata.put(model.read_bytes(), metadata.About("x"), ["in", "side", "it"])
    model.write_bytes(inside)
    assert predict.load(model)[1] == ["cat", "dog", "blåbær"]


def test_labels_inside_the_model_of_another_number_are_an_error_that_names_it(model: Path) -> None:
    (model.parent / "labels.txt").unlink()
    model.write_bytes(write.attach(model.read_bytes(), {"labels.txt": b"one\n"}))
    with pytest.raises(ModelError, match=r"labels\.txt in .*model\.tflite: .*1 labels for 3"):
        predict.load(model)


@pytest.mark.parametrize("text", ["", "cat\ndog\n", "cat\ndog\nbird\nfish\n"])
def test_labels_of_another_number_are_an_error_that_names_the_file(model: Path, text: str) -> None:
    (model.parent / "labels.txt").write_text(text)
    count = len(text.splitlines())
    with pytest.raises(ModelError, match=rf"labels\.txt.*{count} labels for 3 classes"):
        predict.load(model)


def test_labels_that_are_not_text_are_an_error_that_names_the_file(model: Path) -> None:
    (model.parent / "labels.txt").write_bytes(b"cat\n\xff\xfe\ndog\n")
    with pytest.raises(ModelError, match=r"labels\.txt"):
        predict.load(model)


def test_an_image_that_is_not_one_is_an_error_that_names_the_file(model: Path) -> None:
    text = model.parent / "notes.png"
    text.write_text("not a picture")
    with pytest.raises(DataError, match=r"notes\.png"):
        predict.classify(*predict.load(model), text, 1)


def test_a_truncated_image_is_an_error_that_names_the_file(model: Path) -> None:
    whole = picture(model.parent / "whole.png")
    half = model.parent / "half.png"
    half.write_bytes(whole.read_bytes()[:50])
    with pytest.raises(DataError, match=r"half\.png"):
        predict.classify(*predict.load(model), half, 1)


@pytest.mark.parametrize(
    ("name", "why"), [("missing.png", "No such file or directory"), (".", "Is a directory")]
)
def test_an_image_that_is_not_a_file_is_an_error_that_names_it(
    model: Path, name: str, why: str
) -> None:
    with pytest.raises(DataError, match=f"{why}.* Received: {model.parent}"):
        predict.classify(*predict.load(model), model.parent / name, 1)


def test_an_error_is_one_line(model: Path) -> None:
    (broken := model.parent / "broken").write_bytes(b"broken\nfile")
    loaded = predict.load(model)
    with pytest.raises(ModelError) as of_model:
        predict.load(broken)
    with pytest.raises(DataError) as of_image:
        predict.classify(*loaded, broken, 1)
    assert "\n" not in str(of_model.value) + str(of_image.value)


def test_a_model_that_is_not_a_tflite_file_is_an_error_that_names_it(model: Path) -> None:
    image = picture(model.parent / "photo.png")
    with pytest.raises(ModelError, match=r"photo\.png: "):
        predict.load(image)


@pytest.mark.parametrize("name", ["missing.tflite", "."])
def test_a_model_that_is_not_a_file_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match=f"Received: .*{tmp_path.name}"):
        predict.load(tmp_path / name)


def test_predict_starts_without_keras() -> None:
    code = "import sys, pipeline.tflite.predict; print({'keras', 'tensorflow'} & set(sys.modules))"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout == "set()\n"
