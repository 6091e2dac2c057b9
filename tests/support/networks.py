"""A small classifier of colour images, as the files that a browser takes and does not take."""

import functools
from typing import Any

import keras
import numpy as np
from keras import layers

from pipeline.tflite import convert

SHAPE = (24, 32, 3)  # not square, so that no side passes for the other
CLASSES = 3


def network(shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    inputs = keras.Input(shape)
    x = layers.Rescaling(1 / 128, -1.0)(inputs)
    x = layers.Conv2D(8, 5, strides=2, activation="relu")(x)
    return keras.Model(inputs, layers.Softmax()(layers.Dense(CLASSES)(layers.Flatten()(x))))


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, *SHAPE), np.uint8)


@functools.cache
def uint8_ends(seed: int = 0) -> bytes:
    """What the project exports."""
    return convert.ptq(network(seed=seed), noise(20).astype(np.float32))


@functools.cache
def int8_ends() -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(network())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    images = noise(8).astype(np.float32)
    converter.representative_dataset = lambda: ([image[None]] for image in images)
    return bytes(converter.convert())


def any_batch() -> Any:
    import tensorflow as tf

    return tf.lite.TFLiteConverter.from_keras_model(network()).convert()
