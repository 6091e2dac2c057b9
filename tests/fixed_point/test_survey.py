"""What the survey of a network tells, on squares that four weights tell apart."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from support import classifier

from pipeline.data.datasets import Dataset
from pipeline.errors import ModelError
from pipeline.fixed_point import survey, table
from pipeline.measure import guessing


def surveyed(model: keras.Model, data: Dataset, **asked: Any) -> Any:
    return survey.of(model, data, survey.Asked(**asked), guessing.least_hits)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return classifier.classifier()


@pytest.fixture(scope="module")
def found(model: keras.Model, squares: Dataset) -> Any:
    return surveyed(model, squares, accumulators=(20, 2), lowest=True)


def test_as_few_bits_are_enough_as_there_can_be(found: Any) -> None:
    """Weights -8 and 8 on a value of 0 or 1. Of the data, one bit is 0 or 0.5: that is a tie."""
    assert found["float"] == {"val_accuracy": 1.0, "test_accuracy": 1.0}
    assert found["images"] == {"train": 16, "val": 16, "test": 16}
    (layer,) = found["layers"]
    assert (layer["weights"], layer["inputs"], layer["macs"]) == (2, 1, 2)
    assert (layer["weights_range"], layer["data_range"]) == ([-8.0, 8.0], [0.0, 1.0])
    for name in ("uniform", "dynamic"):
        row = found[name][0]
        assert (row["tolerance"], row["val_accuracy"], row["test_accuracy"]) == (0.01, 1.0, 1.0)
        (formats,) = row["layers"]
        assert (formats["weight_bits"], formats["data_bits"]) == (2, 2)
        assert row["traffic_ratio"] == (2 * 2 + 1 * 2) / (32 * 3)
        assert row["data_traffic_ratio"] == 2 / 32
        assert row["serial_speedup"] == 8


def test_accumulators_are_simulated(found: Any) -> None:
    made = found["accumulators"]
    assert (made["none"], made["images"], made["not_simulated"]) == (1.0, 16, [])
    wide, narrow = made["simulated"]
    assert (wide["bits"], wide["wrap"], wide["clip"]) == (20, 1.0, 1.0)
    assert narrow["bits"] == 2
    (row,) = made["layers"]
    assert row["pairs"] == 1
    assert row["outputs"] <= row["weights"]
    assert 2 <= row["lowest_clip"] <= row["outputs"]


def test_the_weights_of_the_model_are_as_they_were(model: keras.Model, found: Any) -> None:
    assert found
    assert model.get_weights()[0].tolist() == [[-8.0, 8.0]]


def test_the_text_fits_a_terminal(found: Any) -> None:
    lines = table.as_text(found).splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("within") for line in lines)


def test_a_model_that_guesses_is_refused(squares: Dataset) -> None:
    blind = classifier.classifier()
    blind.layers[-1].set_weights([np.zeros((1, 2)), np.array([1.0, 0.0])])
    with pytest.raises(ModelError, match=r"no better than guessing.*8 of 16 val images right"):
        surveyed(blind, squares)


def test_layers_without_integers_are_named(squares: Dataset) -> None:
    inputs = keras.Input((4, 4, 1))
    x = layers.SeparableConv2D(1, 3, padding="same", name="separable")(
        layers.Rescaling(1 / 255)(inputs)
    )
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    for layer, weights in zip(
        (model.layers[2], model.layers[-1]),
        (
            [np.eye(9)[4].reshape(3, 3, 1, 1), np.ones((1, 1, 1, 1)), np.zeros(1)],
            [[[-8, 8]], [4, -4]],
        ),
        strict=True,
    ):
        layer.set_weights([np.array(one) for one in weights])
    made = surveyed(model, squares, tolerances=(0.01,), accumulators=())["accumulators"]
    assert made["not_simulated"] == ["separable"]
    assert len(made["layers"]) == 1


def test_notes_are_rare_where_there_is_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.0, 1.0, 11.0, 12.0, 22.0])
    monkeypatch.setattr(survey.time, "monotonic", lambda: next(seconds))
    monkeypatch.setattr(survey.sys.stderr, "isatty", lambda: False)
    told: list[str] = []
    forward: Callable[..., None] = survey.paced(told.append)
    for note in "abcd":
        forward(note)
    assert told == ["b", "d"]
