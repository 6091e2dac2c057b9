"""Small networks, and files made of them and of plain functions."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

SHAPE = (12, 12, 3)


def network(body: Callable[[Any], Any]) -> keras.Model:
    keras.backend.clear_session()  # names are in the file, and Keras numbers them
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, body(inputs))


def classifier(x: Any) -> Any:
    """A body with an operator of each common kind."""
    x = layers.Rescaling(1 / 128, -1.0)(x)
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, 2)(x)))
    x = layers.Add()([x, layers.DepthwiseConv2D(3, padding="same")(x)])
    return layers.Softmax()(layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def two_convolutions(filters: int, side: int = 16) -> keras.Model:
    """A classifier of three classes whose work grows with the square of `filters`."""
    inputs = keras.Input((side, side, 3))
    x = layers.Conv2D(filters, 3, activation="relu", name="first")(inputs)
    x = layers.Conv2D(filters, 3, activation="relu", name="second")(x)
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def converted(function: Callable[..., Any], *specs: Any, half: bool = False) -> bytes:
    """A float file of a function of tensors; its weights are kept as float16 if `half`."""
    import tensorflow as tf

    module = tf.Module()
    concrete = tf.function(function).get_concrete_function(*specs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    if half:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    return bytes(converter.convert())
