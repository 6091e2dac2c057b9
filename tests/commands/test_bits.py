"""`flopsmith bits`: the fewest bits of a model in fixed point."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from support import small

from pipeline import __main__
from pipeline.data.datasets import Dataset
from pipeline.tflite import convert


@pytest.fixture(scope="module")
def saved(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear model of the digits, fitted by least squares."""
    inputs = keras.Input(digits.image_shape)
    x = layers.Flatten()(layers.AveragePooling2D(4)(layers.Rescaling(1 / 255)(inputs)))
    features = keras.Model(inputs, x)
    model = keras.Model(inputs, layers.Dense(10, activation="softmax", name="linear")(x))
    images, labels = digits.train.arrays()
    rows = np.asarray(features(images.astype(np.float32)))
    rows = np.c_[rows, np.ones(len(rows))]
    square = rows.T @ rows + 0.1 * np.eye(rows.shape[1])
    fitted = 8 * np.linalg.solve(square, rows.T @ np.eye(10)[labels])
    model.get_layer("linear").set_weights([fitted[:-1], fitted[-1]])
    path = tmp_path_factory.mktemp("m") / "model.keras"
    model.save(path)
    return path


@pytest.mark.slow
def test_bits_of_a_model_are_printed_and_written(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["bits", str(saved), "--data", "digits", "--images", "60", "--within", "5,1"]
    command += ["--accumulator", "20,6", "--exact-images", "30", "--fit", "stretch"]
    assert __main__.main([*command, "--json", str(tmp_path / "bits.json")]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "Dynamic fixed point" in printed
    found = json.loads((tmp_path / "bits.json").read_text())
    assert (found["model"], found["data"]) == (str(saved), "digits")
    assert found["images"] == {"train": 60, "val": 60, "test": 60}
    assert [row["tolerance"] for row in found["dynamic"]] == [0.01, 0.05]
    accuracy = found["float"]["val_accuracy"]
    assert accuracy > 0.85
    for name in ("uniform", "dynamic"):
        for row in found[name]:
            assert row["val_accuracy"] >= (1 - row["tolerance"]) * accuracy
            assert 2 <= row["layers"][0]["weight_bits"] < 10
    wide, narrow = found["accumulators"]["simulated"]
    assert wide["wrap"] == wide["clip"] == found["accumulators"]["none"]
    assert narrow["wrap"] < wide["wrap"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`int8.tflite` and `float.tflite`."""
    place, model = tmp_path_factory.mktemp("f"), small.network(small.classifier)
    images = np.random.default_rng(0).integers(0, 256, (20, *small.SHAPE)).astype(np.float32)
    (place / "int8.tflite").write_bytes(convert.ptq(model, images))
    (place / "float.tflite").write_bytes(convert.convert_float(model))
    return place


def test_bounds_of_a_file_need_no_data(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "b.json"
    assert __main__.main(["bits", str(files / "int8.tflite"), "--json", str(target)]) == 0
    assert "int32 is safe" in capsys.readouterr().out
    assert json.loads(target.read_text())["int32_is_safe"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["MODEL"], "without --data"),
        (["MODEL", "--data", "digits", "--images", "0"], "--images takes a whole number from 1"),
        (["MODEL", "--data", "digits", "--within", "1,x"], "--within takes numbers in [0, 100)"),
        (["MODEL", "--data", "digits", "--within", "100"], "--within takes numbers in [0, 100)"),
        (["MODEL", "--data", "digits", "--accumulator", "1"], "from 2 to 63"),
        (["MODEL", "--data", "digits", "--json", "no/such/b.json"], "a directory that exists"),
        (["MODEL", "--data", "nowhere"], "nowhere"),
        (["missing.keras", "--data", "digits"], "missing.keras"),
        (["missing.tflite"], "missing.tflite"),
        (["FLOAT"], "compute with floats"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str],
    said: str,
    saved: Path,
    files: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    known = {"MODEL": str(saved), "FLOAT": str(files / "float.tflite")}
    assert __main__.main(["bits", *(known.get(word, word) for word in arguments)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line


def test_a_model_of_other_classes_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small.two_convolutions(2).save(tmp_path / "three.keras")
    assert __main__.main(["bits", str(tmp_path / "three.keras"), "--data", "digits"]) == 2
    assert "knows other classes than the data has" in capsys.readouterr().err
