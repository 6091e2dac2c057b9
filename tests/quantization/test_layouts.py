"""Kernels lie otherwise in the file than in Keras."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.quantization import layouts, network
from pipeline.quantization.network import Step

MAKERS: dict[str, Any] = {
    "conv": lambda: layers.Conv2D(5, (3, 2), name="own"),
    "grouped": lambda: layers.Conv2D(4, 3, groups=2, name="own"),
    "pixel": lambda: layers.Conv2D(5, 1, name="own"),
    "strided": lambda: layers.Conv2D(5, 1, strides=2, name="own"),
    "depthwise": lambda: layers.DepthwiseConv2D((3, 2), depth_multiplier=2, name="own"),
    "transposed": lambda: layers.Conv2DTranspose(5, (3, 2), name="own"),
    "dense": lambda: layers.Dense(5, name="own"),
}


def step(kind: str) -> tuple[keras.layers.Layer, Step]:
    """A layer, and the operator that the converter makes of it."""
    keras.utils.set_random_seed(0)
    layer, inputs = MAKERS[kind](), keras.Input((6, 6, 4))
    x = layers.Flatten()(inputs) if kind == "dense" else inputs
    model = keras.Model(inputs, layers.Flatten()(layer(x)))
    (found,) = network.of(model).kernels
    return layer, found


@pytest.mark.parametrize("kind", MAKERS)
def test_a_kernel_has_the_order_of_keras_and_goes_back_to_that_of_the_file(kind: str) -> None:
    layer, found = step(kind)
    own = np.asarray(layer.weights[0])
    np.testing.assert_array_equal(layouts.from_file(found), own)
    np.testing.assert_array_equal(layouts.to_file(found, own), found.reads[1].data)
    channels = np.prod([own.shape[axis] for axis in layouts.LAYOUTS[found.kind].channels])
    assert len(layouts.bias_of(found, int(channels))) == channels


def test_a_convolution_of_one_pixel_is_a_dense_layer_for_each() -> None:
    found = {kind for kind in MAKERS if layouts.is_dense(step(kind)[1])}
    assert found == {"dense", "pixel"}
