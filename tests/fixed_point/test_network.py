"""A network whose weights and data are rounded, against what is worked out by hand."""

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.errors import ModelError
from pipeline.fixed_point.formats import Format, Range
from pipeline.fixed_point.network import Key, Network

WEIGHTS, DATA = Key(0, "weights"), Key(0, "data")


@pytest.fixture(scope="module")
def dense() -> Network:
    """y = 0.3 a - 0.6 b + 0.1 with a and b a tenth of the pixels."""
    inputs = keras.Input((1, 2, 1))
    x = layers.Rescaling(0.1)(layers.Flatten()(inputs))
    model = keras.Model(inputs, layers.Dense(1, name="last")(x))
    model.layers[-1].set_weights([np.array([[0.3], [-0.6]]), np.array([0.1])])
    return Network(model)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.array([2, 6], np.uint8).reshape(1, 1, 2, 1)


def test_a_layer_says_what_it_moves(dense: Network) -> None:
    (layer,) = dense.layers
    assert (layer.name, layer.weights, layer.inputs, layer.macs) == ("last", 2, 2, 2)


def test_what_has_no_format_stays_in_float(dense: Network, pixels: np.ndarray) -> None:
    assert dense.scores(pixels, {}).item() == pytest.approx(0.3 * 0.2 - 0.6 * 0.6 + 0.1)


def test_weights_and_data_are_rounded_and_the_bias_is_not(
    dense: Network, pixels: np.ndarray
) -> None:
    """In quarters, 0.3 is 0.25 and -0.6 is -0.5; 0.2 is 0.25 and 0.6 is 0.5."""
    weights, data = Format(1, 2), Format(0, 2, signed=False)
    found = dense.scores(pixels, {WEIGHTS: weights, DATA: data})
    assert found.item() == pytest.approx(0.25 * 0.25 - 0.5 * 0.5 + 0.1, abs=1e-7)
    found = dense.scores(pixels, {DATA: data})
    assert found.item() == pytest.approx(0.3 * 0.25 - 0.6 * 0.5 + 0.1, abs=1e-7)


def test_data_beyond_a_format_are_saturated(dense: Network, pixels: np.ndarray) -> None:
    """Of 0, 1/8, 2/8 and 3/8, 0.6 becomes the last, and 0.2 the third."""
    found = dense.scores(pixels, {DATA: Format(-1, 3, signed=False)})
    assert found.item() == pytest.approx(0.3 * 0.25 - 0.6 * 0.375 + 0.1, abs=1e-7)


def test_ranges_are_those_that_a_layer_reads(dense: Network, pixels: np.ndarray) -> None:
    found = dense.ranges(np.concatenate([pixels, pixels * 10]))
    assert found[DATA] == Range(0.0, pytest.approx(6.0))
    assert found[WEIGHTS] == Range(pytest.approx(-0.6), pytest.approx(0.3))


def test_weights_are_put_back(dense: Network, pixels: np.ndarray) -> None:
    before = dense.model.get_weights()
    with dense.kept():
        dense.scores(pixels, {WEIGHTS: Format(1, 1)})
        assert not np.array_equal(dense.model.get_weights()[0], before[0])
    assert np.array_equal(dense.model.get_weights()[0], before[0])


def test_nested_and_shared_layers_and_attention_are_found() -> None:
    shared = layers.Conv2D(4, 1, name="shared")
    inside = keras.Input((4, 4, 4))
    nested = keras.Model(inside, shared(shared(inside)), name="nested")
    inputs = keras.Input((4, 4, 1))
    x = nested(layers.SeparableConv2D(4, 3, padding="same", name="separable")(inputs))
    x = layers.Reshape((16, 4))(x)
    x = layers.MultiHeadAttention(2, 2, name="attention")(x, x)
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))
    network = Network(model)
    assert [one.name for one in network.layers][:3] == ["separable", "shared", "attention"]
    separable, twice, attention, _ = network.layers
    assert (separable.weights, separable.macs) == (9 + 4, 16 * (9 + 4))
    assert (twice.weights, twice.macs, twice.inputs) == (16, 2 * 16 * 16, 2 * 64)
    assert attention.weights == 4 * 4 * 4
    images = np.random.default_rng(0).integers(0, 255, (3, 4, 4, 1))
    fine = {Key(i, "data"): Format(10, 14) for i in range(4)}
    assert np.allclose(network.scores(images, fine), network.scores(images, {}), atol=1e-2)
    coarse = {Key(2, "data"): Format(2, 0)}
    assert not np.allclose(network.scores(images, coarse), network.scores(images, {}), atol=1e-2)


def test_a_network_without_weights_is_refused() -> None:
    inputs = keras.Input((4, 4, 1))
    with pytest.raises(ModelError, match="no layer with a kernel"):
        Network(keras.Model(inputs, layers.GlobalAveragePooling2D()(inputs)))
