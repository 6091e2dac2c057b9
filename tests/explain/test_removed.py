"""Patches of removed channels, on a network whose channels look for one colour each."""

import keras
import numpy as np
from keras import layers

from pipeline.explain import removed


def test_each_row_shows_what_its_channel_looked_for() -> None:
    inputs = keras.Input((12, 12, 3))
    conv = layers.Conv2D(3, 3, name="conv")
    dense = layers.Dense(2, name="dense")
    model = keras.Model(inputs, dense(layers.GlobalAveragePooling2D()(conv(inputs))))
    conv.set_weights([np.eye(3)[None, None].repeat(3, 0).repeat(3, 1), np.zeros(3)])
    images = np.zeros((removed.COLUMNS, 12, 12, 3), np.uint8)
    for number, image in enumerate(images):
        image[number : number + 3, 2:5, 0] = 200  # red, at another place in each
        image[6:9, 8:11, 2] = 255
    found = removed.patches(model, {"dense": [0], "conv": [2, 0]}, images)
    assert found is not None
    names, pictures = found
    assert names == ["conv channel 2"]
    assert pictures.shape == (removed.COLUMNS, removed.SIDE, removed.SIDE, 3)
    blue = pictures[..., 2].mean(axis=(1, 2))
    np.testing.assert_array_equal(blue, 255)
    found = removed.patches(model, {"conv": [0]}, images)
    assert found is not None
    assert found[1][..., 0].mean() == 200


def test_a_network_without_places_has_none() -> None:
    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, layers.Dense(3, name="dense")(layers.Flatten()(inputs)))
    assert removed.patches(model, {"dense": [0]}, np.zeros((8, 4, 4, 1), np.uint8)) is None
