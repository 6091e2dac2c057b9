"""`flopsmith evaluate`: accuracy of a model file on a data set."""

import json
import re
from pathlib import Path

import keras
import pytest

from pipeline import __main__
from pipeline.commands import evaluate
from pipeline.data import datasets
from pipeline.data.datasets import Dataset


@pytest.fixture(scope="module")
def saved(few_digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the digits, not trained."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input(few_digits.image_shape)
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 128, offset=-1.0)(inputs))
    path = tmp_path_factory.mktemp("m") / "model.keras"
    keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x)).save(path)
    return path


def test_help_tells_the_fractions_that_a_recipe_has_by_default() -> None:
    fields = datasets.DataConfig.model_fields
    defaults = {part: fields[f"{part}_fraction"].default for part in ("val", "test")}
    assert defaults == evaluate.FRACTIONS
    whole, most = datasets.VAL_FRACTION, datasets.VAL_IMAGES
    shown = {"val": f"{whole}, at most {most:,} images", "test": f"{defaults['test']}"}
    assert shown == evaluate.SHOWN


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_a_broken_file_is_one_line(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.keras").write_bytes(content)
    assert __main__.main(["evaluate", str(tmp_path / "m.keras"), "--data", "digits"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_the_command_prints_accuracy_by_class(
    saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert __main__.main(["evaluate", str(saved), "--data", "digits", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 359
    assert 0 <= found["accuracy"] <= 1
    assert len(found["per_class"]) == 10


@pytest.mark.slow
def test_fractions_divide_the_images_as_a_recipe_does(
    saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", str(saved), "--data", "digits", "--test-fraction", "0.1", "--json"]
    assert __main__.main(command) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 180
    command[5] = "2"
    assert __main__.main(command) == 2
    assert "--test-fraction" in capsys.readouterr().err


def test_every_score_is_printed_with_its_interval(
    saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert __main__.main(["evaluate", str(saved), "--data", "digits"]) == 0
    lines = capsys.readouterr().out.splitlines()[-4:]
    names = ("accuracy", "balanced accuracy", "macro F1", "AUC")
    for line, name in zip(lines, names, strict=True):
        found = re.match(r"(.*?) (\d\.\d{4}).*, 95% interval (\d\.\d{4}) to (\d\.\d{4})$", line)
        assert found
        assert found[1] == name
        value, low, high = map(float, found.groups()[1:])
        assert low <= value <= high
    assert " on 359 images (test), " in lines[0]
