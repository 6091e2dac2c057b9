"""A network of four weights that tells the `squares` apart."""

import keras
import numpy as np
from keras import layers


def classifier(scale: float = 1 / 255, classes: int = 2) -> keras.Model:
    """It tells the `squares` apart, if they have the pixels that `scale` is for."""
    inputs = keras.Input((4, 4, 1))
    x = layers.GlobalAveragePooling2D()(layers.Rescaling(scale)(inputs))
    model = keras.Model(inputs, layers.Dense(classes, activation="softmax")(x))
    model.layers[-1].set_weights([np.linspace(-8, 8, classes)[None], np.linspace(4, -4, classes)])
    return model
