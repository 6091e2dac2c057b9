"""Shapes: where channels are after flattening, padding and reshaping, and settings for fewer."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.graph import channels
from pipeline.graph.channels import Channels
from pipeline.graph.kinds import shaping

IMAGE = (2, 3, 4)  # height, width, channels of what is reshaped


def through(layer: Any) -> tuple[Channels, list[int], list[int]]:
    """The channels of a network, and the classes that a layer in it reads and writes."""
    inputs = keras.Input((*IMAGE[:2], 1))
    x = layer(layers.Conv2D(IMAGE[2], 1)(inputs))
    found = channels.find(keras.Model(inputs, layers.Dense(2)(x)))
    return found, found.reads[id(layer)].tolist(), found.writes[id(layer)].tolist()


def test_flattening_puts_the_channels_of_each_place_in_a_row() -> None:
    _, reads, writes = through(layers.Flatten())
    assert writes == reads * 6


@pytest.mark.parametrize(
    ("shape", "stays"), [((6, 4), False), ((24,), False), ((3, 8), True), ((12, 2), True)]
)
def test_a_shape_that_mixes_channels_keeps_them(shape: tuple[int, ...], stays: bool) -> None:
    found, reads, writes = through(layers.Reshape(shape))
    assert (set(reads) <= set(found.fixed)) == stays
    if not stays:
        assert writes == reads * (shape[-1] // 4)


@pytest.mark.parametrize(("dims", "stays"), [((2, 1, 3), False), ((3, 1, 2), True)])
def test_a_permutation_that_moves_the_channels_keeps_them(
    dims: tuple[int, ...], stays: bool
) -> None:
    found, reads, _ = through(layers.Permute(dims))
    assert (set(reads) <= set(found.fixed)) == stays


def test_channels_that_are_padded_with_zeros_are_new_and_go_with_their_sums() -> None:
    layer = layers.ZeroPadding2D(((0, 0), (1, 2)), data_format="channels_first")
    inputs = keras.Input((4, 4, 1))
    x = layers.Conv2D(2, 1)(inputs)
    model = keras.Model(
        inputs, layers.Conv2D(1, 1)(layers.Add()([layer(x), layers.Conv2D(5, 1)(x)]))
    )
    found = channels.find(model)
    reads, writes = found.reads[id(layer)], found.writes[id(layer)]
    assert writes[1:3].tolist() == reads.tolist()
    assert len(set(writes.tolist())) == 5
    copies = np.ones(found.count, np.int64)
    copies[writes[0]] = copies[writes[3]] = 0
    assert shaping.padding_left(layer, {}, writes, copies) == {"padding": ((0, 0), (0, 1))}


def test_a_reshape_asks_for_the_channels_that_are_left() -> None:
    layer, copies = layers.Reshape((6, 4)), np.array([1, 0, 1, 1])
    config = layer.get_config()
    left = shaping.channels_left(layer, config, np.arange(4), copies)
    assert left == {"target_shape": (6, 3)}
