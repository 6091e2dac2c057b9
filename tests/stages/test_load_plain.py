"""What `load` makes of a model as others save it, and what it says of that."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from support.context import make_context

from pipeline.artifact import Artifact
from pipeline.data.datasets import Dataset
from pipeline.stages import load

SHAPE = (32, 32, 1)  # of the digits


def frozen(x: Any) -> Any:
    """As Keras's guide to transfer learning makes it: a frozen backbone, called as in inference."""
    parts = [layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU()]
    base = keras.Sequential([keras.Input(SHAPE), *parts], name="base")
    base.trainable = False
    return base(x, training=False)


def half(x: Any) -> Any:
    return layers.Conv2D(4, 3, dtype="mixed_float16", activation="relu")(x)


def augmented(x: Any) -> Any:
    return layers.Conv2D(4, 3, activation="relu")(layers.RandomRotation(0.1)(x))


def model(body: Callable[[Any], Any]) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    x = layers.GlobalAveragePooling2D()(body(layers.Rescaling(1 / 255)(inputs)))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


def loaded(path: Path, data: Dataset, **settings: Any) -> keras.Model:
    ctx = make_context(path.parent / "load", data)
    nothing = Artifact(stage="data", fingerprint="", directory=path.parent)
    made = load.run(
        nothing, load.Config(model=str(path), pixels="0..255", accept=True, **settings), ctx
    )
    return keras.models.load_model(made.model_path, compile=False)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (frozen, "2 of 3 layers with weights were frozen"),
        (frozen, "were called with training=False"),
        (half, "mixed_float16 in 1 layers"),
        (augmented, "augment images are left out: RandomRotation"),
    ],
)
def test_what_is_changed_is_said_once(
    body: Any, words: str, few_digits: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = model(body)
    given.save(tmp_path / "given.keras")
    with caplog.at_level(logging.INFO, "flopsmith"):
        made = loaded(tmp_path / "given.keras", few_digits)
    assert sum(words in record.getMessage() for record in caplog.records) == 1
    assert all(layer.trainable for layer in made.layers)
    images = np.random.default_rng(0).integers(0, 256, (4, *SHAPE)).astype(np.float32)
    np.testing.assert_allclose(
        made.predict(images, verbose=0), given.predict(images, verbose=0), atol=2e-3
    )


def test_frozen_layers_stay_frozen_if_asked_for(few_digits: Dataset, tmp_path: Path) -> None:
    model(frozen).save(tmp_path / "given.keras")
    made = loaded(tmp_path / "given.keras", few_digits, trainable="as_saved")
    assert [layer.trainable for layer in made.layers if layer.weights] == [False, False, True]


def test_an_h5_file_is_loaded(few_digits: Dataset, tmp_path: Path) -> None:
    given = model(half)
    given.save(tmp_path / "given.h5")
    made = loaded(tmp_path / "given.h5", few_digits)
    assert {layer.compute_dtype for layer in made.layers} == {"float32"}
