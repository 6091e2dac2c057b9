"""A small network with a kernel of every kind."""

from collections.abc import Sequence

import keras
from keras import layers

from pipeline.compress import kernels


def network() -> keras.Model:
    """A convolution of the image, another, a depthwise one, a separable one, a dense layer."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(8, 3, strides=2, name="stem")(layers.Rescaling(1 / 128, -1.0)(inputs))
    x = layers.Conv2D(12, 3, padding="same", activation="relu", name="conv")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(layers.BatchNormalization()(x))
    x = layers.SeparableConv2D(8, 3, padding="same", activation="relu", name="separable")(x)
    x = layers.Dropout(0.1)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Softmax()(layers.Dense(10, name="dense")(x)))


def names(found: Sequence[kernels.Kernel]) -> list[str]:
    return [kernel.name for kernel in kernels.prunable(found)]
