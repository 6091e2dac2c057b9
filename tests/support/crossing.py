"""Small Keras 3 networks with random weights, and whether their tf_keras twins compute the same."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tf_keras
from keras import layers

EXACT = 1e-5


def conv(x: Any) -> Any:
    return layers.Conv2D(x.shape[-1], 3, padding="same")(x)


def network(body: Callable[[Any], Any], shape: tuple[int, ...] = (9, 8, 4)) -> keras.Model:
    inputs = keras.Input(shape)
    return randomized(keras.Model(inputs, body(inputs)))


def randomized(model: keras.Model) -> keras.Model:
    """Give every weight a random value; the zeros and ones of a fresh network hide mistakes."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name in ("mean", "variance", "count"):  # of a Normalization
            continue
        center, spread = (1.0, 0.3) if weight.ndim == 1 else (0.0, 1 / np.sqrt(weight.shape[-2]))
        value = rng.uniform(center - spread, center + spread, weight.shape)
        weight.assign(value if weight.ndim == 1 else value / np.sqrt(np.prod(weight.shape[:-2])))
    return model


def images(model: keras.Model) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (3, *model.input_shape[1:])).astype("float32")


def outputs(model: Any, pixels: np.ndarray) -> np.ndarray:
    return np.asarray(model(pixels, training=False))


def assert_same(model: keras.Model, legacy: tf_keras.Model, scale: float = 1.0) -> None:
    pixels = scale * images(model)
    expected = outputs(model, pixels)
    assert np.ptp(expected) > 0
    error = np.max(np.abs(expected - outputs(legacy, pixels)))
    assert error <= EXACT * max(1, np.max(np.abs(expected)))
