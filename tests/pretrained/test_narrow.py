"""Weights in a narrower network, by hand: which channels stay, and which layers start anew."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.errors import ModelError
from pipeline.graph import channels
from pipeline.pretrained import narrow


def test_channels_that_an_addition_ties_together_are_one_set() -> None:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 1, name="a")(inputs)
    y = keras.layers.BatchNormalization(name="n")(keras.layers.Conv2D(4, 1, name="b")(x))
    z = keras.layers.DepthwiseConv2D(3, padding="same", name="d")(keras.layers.Add()([x, y]))
    model = keras.Model(inputs, keras.layers.Conv2D(5, 1, name="c")(z))
    found = narrow.ends(channels.find(model))
    assert found["b"] == found["n"] == found["d"] == ("a", "a")
    assert (found["a"], found["c"]) == (("image", "a"), ("a", "c"))


def network(width: int, image: int = 3, blocks: int = 2) -> keras.Model:
    """Convolutions with a normalization that are added up, and scores; weights are random."""
    inputs = keras.Input((6, 6, image))
    x = layers.Conv2D(width, 1, name="stem")(inputs)
    for block in range(blocks):
        y = layers.DepthwiseConv2D(3, padding="same", name=f"deep{block}")(x)
        y = layers.Conv2D(width, 1, name=f"flat{block}")(y)
        x = layers.Add(name=f"sum{block}")([x, layers.BatchNormalization(name=f"norm{block}")(y)])
    x = layers.Conv2D(width, 1, name="head")(x)
    x = layers.GlobalAveragePooling2D()(layers.BatchNormalization(name="head_norm")(x))
    model = keras.Model(inputs, layers.Dense(2, name="logits")(x))
    rng = np.random.default_rng(width)
    model.set_weights([rng.uniform(0.1, 1, w.shape) for w in model.get_weights()])
    return model


def weights(model: keras.Model, name: str) -> Any:
    return model.get_layer(name).get_weights()


def test_the_channels_with_the_largest_sum_of_gammas_stay_in_their_order() -> None:
    source, target = network(4), network(2)
    source.get_layer("norm0").gamma.assign([0.1, 0.9, 0.2, 0.8])
    source.get_layer("norm1").gamma.assign([2.0, 0.1, 0.1, 0.1])  # sums: 2.1, 1.0, 0.3, 0.9
    source.get_layer("head_norm").gamma.assign([1.0, 2.0, -4.0, 3.0])
    assert narrow.copy(source, target) == []
    for name in ("norm0", "norm1"):
        for now, then in zip(weights(target, name), weights(source, name), strict=True):
            np.testing.assert_array_equal(now, then[[0, 1]])
    kernel, bias = weights(source, "head")
    np.testing.assert_array_equal(weights(target, "head")[0], kernel[:, :, [0, 1]][..., [2, 3]])
    np.testing.assert_array_equal(weights(target, "head")[1], bias[[2, 3]])
    deep, _ = weights(source, "deep0")
    np.testing.assert_array_equal(weights(target, "deep0")[0], deep[:, :, [0, 1]])
    np.testing.assert_array_equal(weights(target, "logits")[0], weights(source, "logits")[0][2:])


def test_layers_that_are_left_and_all_that_read_them_start_anew() -> None:
    source, target = network(4), network(4)
    before = target.get_weights()
    assert narrow.copy(source, target, leave=("head",)) == ["head", "head_norm", "logits"]
    np.testing.assert_array_equal(weights(target, "stem")[0], weights(source, "stem")[0])
    for now, then in zip(target.get_weights()[-8:], before[-8:], strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_layer_that_reads_other_channels_than_it_did_starts_anew() -> None:
    source, target = network(3), network(3)
    x = target.get_layer("sum0").output
    other = layers.Conv2D(3, 1, name="other")(x)
    head = layers.Conv2D(3, 1, name="head")
    shorter = keras.Model(target.inputs, layers.Flatten()(head(other)))
    assert narrow.copy(source, shorter) == ["other", "head"]


def test_a_shorter_network_has_the_weights_of_what_it_shares() -> None:
    source, target = network(4), network(4, blocks=1)
    assert narrow.copy(source, target) == []
    np.testing.assert_array_equal(weights(target, "head")[0], weights(source, "head")[0])


def test_grey_images_are_read_with_the_sum_of_the_kernels_of_colours() -> None:
    source, target = network(4), network(4, image=1)
    narrow.copy(source, target)
    kernel = weights(source, "stem")[0]
    np.testing.assert_allclose(weights(target, "stem")[0], kernel.sum(axis=2, keepdims=True))


def test_images_of_other_channels_are_refused() -> None:
    with pytest.raises(ModelError, match=r"images of 3 channels. Received: channels=2"):
        narrow.copy(network(4), network(4, image=2))


def test_a_wider_network_is_of_another_architecture() -> None:
    with pytest.raises(ModelError, match=r"'stem'. Expected: \[\(1, 1, 3, 5\)"):
        narrow.copy(network(4), network(5))


def test_channels_that_are_joined_are_named_after_all_of_their_layers() -> None:
    inputs = keras.Input((4, 4, 1))
    pair = [layers.Conv2D(2, 1, name=name)(inputs) for name in "ab"]
    model = keras.Model(inputs, layers.Conv2D(1, 1, name="c")(layers.Concatenate()(pair)))
    assert narrow.ends(channels.find(model))["c"] == ("a+b", "c")
