"""The simulation with integers, against Keras and against sums worked out by hand."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.fixed_point import overflow
from pipeline.fixed_point.formats import Format
from pipeline.fixed_point.network import Key, Network
from pipeline.fixed_point.overflow import EXACT, Width

WIDE = Width(40, "clip")
LAYERS = {
    "plain": lambda: layers.Conv2D(6, 3),
    "same, strides": lambda: layers.Conv2D(6, (3, 2), strides=2, padding="same"),
    "dilated": lambda: layers.Conv2D(6, 3, dilation_rate=2, padding="same", activation="relu"),
    "groups": lambda: layers.Conv2D(6, 3, groups=2, use_bias=False),
    "depthwise": lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, strides=2, padding="same"),
    "dense": lambda: layers.Dense(5, activation="gelu"),
}


def formats(network: Network) -> dict[Key, Format]:
    """Few enough bits that float32 adds them up exactly as well."""
    places = range(len(network.layers))
    weights = {Key(place, "weights"): Format(1, 4) for place in places}
    return weights | {Key(place, "data"): Format(2, 4) for place in places}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 7, 8, 4)).astype(np.uint8)


@pytest.mark.parametrize("kind", LAYERS)
def test_integers_give_what_keras_gives_with_rounded_numbers(kind: str, images: np.ndarray) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((7, 8, 4))
    x = LAYERS[kind]()(layers.Rescaling(1 / 128, -1.0)(inputs))
    network = Network(keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x))))
    expected = network.scores(images, formats(network))
    assert np.ptp(expected) > 0.1
    for width in (EXACT, WIDE):
        found = overflow.scores(network, images, formats(network), width)
        assert np.allclose(found, expected, atol=1e-5)


@pytest.fixture(scope="module")
def one_sum() -> Network:
    """y = a + b - c, as integers."""
    inputs = keras.Input((1, 3, 1))
    layer = layers.Dense(1, use_bias=False, name="sum")
    model = keras.Model(inputs, layer(layers.Flatten()(inputs)))
    layer.set_weights([np.array([[1.0], [1.0], [-1.0]])])
    return Network(model)


INTEGERS = {Key(0, "weights"): Format(3, 0), Key(0, "data"): Format(5, 0)}


@pytest.mark.parametrize(
    ("width", "expected"),
    [(EXACT, 6), (Width(4, "wrap"), 6), (Width(4, "clip"), 1), (Width(3, "wrap"), -2)],
)
def test_an_accumulator_does_with_sums_what_it_is_said_to(
    one_sum: Network, width: Width, expected: int
) -> None:
    """7 + 5 - 6: 12 does not fit into 4 bits, whose largest is 7."""
    image = np.array([7, 5, 6], np.uint8).reshape(1, 1, 3, 1)
    assert overflow.scores(one_sum, image, INTEGERS, width).item() == expected


def test_needs_of_a_layer(one_sum: Network) -> None:
    """Weights of 3 bits and data of 5, K = 3, R = 3; the largest output is 9 + 9."""
    images = np.array([[9, 9, 0], [0, 0, 15]], np.uint8).reshape(2, 1, 3, 1)
    (found,) = overflow.needs(one_sum, images, INTEGERS)
    assert (found.pairs, found.any_weights) == (3, 3 + 5 - 1 + 2)
    assert found.weights == 7  # |-16| * 3 = 48 takes 6 bits and the sign
    assert found.outputs == 6  # 18 takes 5 and the sign
    assert found.integer(found.outputs) == 5


def test_the_narrowest_accumulator_is_found(one_sum: Network) -> None:
    """Whether y > 0.5 is the class: 7 + 5 - 6 = 6 wraps to -2 with 3 bits, and to -2 with 2."""
    images = np.array([[7, 5, 6], [0, 0, 1]], np.uint8).reshape(2, 1, 3, 1)
    labels = np.array([1, 0])
    widest: Any = (0, Width(6, "wrap"))
    assert overflow.accuracy(one_sum, images, labels, INTEGERS, {0: Width(4, "wrap")}) == 1.0
    assert overflow.accuracy(one_sum, images, labels, INTEGERS, {0: Width(3, "wrap")}) == 0.5
    assert overflow.lowest(one_sum, images, labels, INTEGERS, widest, 0.99) == 4


def test_only_plain_layers_are_computed_with_integers() -> None:
    assert overflow.is_exact(layers.Conv2D(3, 3))
    assert not overflow.is_exact(layers.SeparableConv2D(3, 3))
    assert not overflow.is_exact(layers.Conv2DTranspose(3, 3))
    assert not overflow.is_exact(layers.Conv2D(3, 3, data_format="channels_first"))
