"""Importance of channels, by hand: norms of kernels as shares of the layer's, and gamma."""

import keras
import numpy as np
from keras import layers

from pipeline.graph import channels, importance
from pipeline.graph.channels import Channels


def two_convolutions(norm: bool = False) -> Channels:
    """1x1 convolutions "a" and "b" of two channels that are added, and one that reads the sum."""
    inputs = keras.Input((2, 2, 2))
    a = layers.Conv2D(2, 1, use_bias=False, name="a")
    b = layers.Conv2D(2, 1, use_bias=False, name="b")
    x = layers.Add()([a(inputs), b(inputs)])
    x = layers.BatchNormalization(name="norm")(x) if norm else x
    model = keras.Model(inputs, layers.Conv2D(1, 1)(x))
    a.kernel.assign(np.reshape([[1.0, 3.0], [-1.0, -5.0]], (1, 1, 2, 2)))
    b.kernel.assign(np.reshape([[0.0, 2.0], [4.0, -2.0]], (1, 1, 2, 2)))
    return channels.find(model)


def of_a(found: Channels, by: importance.Score) -> list[float]:
    written = found.writes[id(found.model.get_layer("a"))]
    return [float(value) for value in importance.scores(found, by)[written]]


def test_l1_is_the_mean_size_of_weights_as_a_share_of_the_layers_over_all_writers() -> None:
    # a: means 1 and 4 of 2.5; b: means 2 and 2 of 2
    np.testing.assert_allclose(of_a(two_convolutions(), "l1"), [1 / 2.5 + 1, 4 / 2.5 + 1])


def test_l2_is_the_root_of_the_mean_square() -> None:
    a, b = np.sqrt([1, 17]), np.sqrt([8, 4])
    expected = a / a.mean() + b / b.mean()
    np.testing.assert_allclose(of_a(two_convolutions(), "l2"), expected, rtol=1e-6)


def test_gamma_counts_where_there_is_a_normalization_and_else_l2() -> None:
    found = two_convolutions(norm=True)
    found.model.get_layer("norm").gamma.assign([-0.5, 0.25])
    assert of_a(found, "gamma") == [0.5, 0.25]
    plain = two_convolutions()
    assert of_a(plain, "gamma") == of_a(plain, "l2")


def test_depthwise_kernels_count_for_the_channels_that_they_pass_on() -> None:
    inputs = keras.Input((4, 4, 1))
    a = layers.Conv2D(2, 1, use_bias=False, name="a")
    deep = layers.DepthwiseConv2D(2, use_bias=False)
    found = channels.find(keras.Model(inputs, layers.Conv2D(1, 1)(deep(a(inputs)))))
    a.kernel.assign(np.ones((1, 1, 1, 2)))
    deep.kernel.assign(np.broadcast_to([[[[1.0], [3.0]]]], (2, 2, 2, 1)))
    np.testing.assert_allclose(of_a(found, "l1"), [1 + 0.5, 1 + 1.5])


def test_the_gammas_of_tied_channels_add_up() -> None:
    inputs = keras.Input((8, 8, 3))
    x = layers.BatchNormalization(name="n")(layers.Conv2D(2, 1, name="a")(inputs))
    x = layers.BatchNormalization(name="m")(layers.DepthwiseConv2D(3, name="d")(x))
    model = keras.Model(inputs, layers.Conv2D(5, 1, name="c")(x))
    for name, gamma in (("n", [1.0, -3.0]), ("m", [0.5, 1.0])):
        model.get_layer(name).gamma.assign(gamma)
    assert of_a(channels.find(model), "gamma") == [1.5, 4.0]


def test_a_normalization_without_gamma_is_left_out() -> None:
    inputs = keras.Input((2, 2, 1))
    with_gamma, without = layers.BatchNormalization(), layers.BatchNormalization(scale=False)
    model = keras.Model(inputs, without(with_gamma(inputs)))
    assert importance.scaled_norms(model) == [with_gamma]
