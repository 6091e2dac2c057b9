"""A network that looks for two colours, and a picture that has both."""

import keras
import numpy as np
from keras import layers

from pipeline.explain import subject
from pipeline.explain.subject import Subject
from pipeline.tflite import convert, write

SIDE = 32
RED, BLUE = np.s_[4:12, 4:12], np.s_[18:28, 20:28]  # where the squares are


def network(fused: bool = True) -> keras.Model:
    """Two classes: how much is bright red, how much is bright blue; nothing else is seen."""
    inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    conv = layers.Conv2D(2, 1, activation="relu", name="colours")
    x = layers.GlobalAveragePooling2D()(conv(x))
    dense = layers.Dense(2, activation="softmax" if fused else None, name="classes")
    x = dense(layers.Dropout(0.1)(x))
    model = keras.Model(inputs, x if fused else layers.Softmax()(x))
    conv.set_weights([np.float32([[[[1, 0], [0, 0], [0, 1]]]]), np.float32([-0.5, -0.5])])
    dense.set_weights([np.float32([[20, -5], [-5, 20]]), np.float32([0.1, 0.0])])
    return model


def picture() -> np.ndarray:
    image = np.full((SIDE, SIDE, 3), 60, np.uint8)
    image[RED], image[BLUE] = (255, 40, 40), (40, 40, 255)
    return image


def in_float() -> Subject:
    return subject.of_keras("float", network())


def in_int8() -> Subject:
    images = np.stack([picture(), np.zeros((SIDE, SIDE, 3), np.uint8)] * 4).astype(np.float32)
    # as it ships: without names of inner tensors
    return subject.of_tflite("int8", write.stripped(convert.ptq(network(), images)))
