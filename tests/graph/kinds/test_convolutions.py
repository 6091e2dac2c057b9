"""Convolutions: axes of kernels, channels in groups, and MACs after channels are removed."""

from fractions import Fraction
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.graph import channels, walk
from pipeline.graph.kinds import convolutions, table
from pipeline.graph.kinds.kind import Kernel


def built(layer: Any, *shape: int) -> Any:
    layer.build((None, *shape))
    return layer


def ends(layer: Any, channels_in: int = 4) -> tuple[list[int], list[int]]:
    """Classes that a layer reads and writes, where a convolution before it makes them."""
    inputs = keras.Input((8, 8, 1))
    x = layer(layers.Conv2D(channels_in, 1)(inputs))
    found = channels.find(keras.Model(inputs, layers.Conv2D(1, 1)(x)))
    return found.reads[id(layer)].tolist(), found.writes[id(layer)].tolist()


@pytest.mark.parametrize(
    ("layer", "shape", "inputs", "outputs"),
    [
        (layers.Conv2D(5, 3), (8, 8, 2), 2, 5),
        (layers.Conv2D(6, 3, groups=2), (8, 8, 4), 2, 6),
        (layers.Conv2DTranspose(5, 3), (8, 8, 2), 2, 5),
        (layers.Conv1DTranspose(5, 3), (8, 2), 2, 5),
    ],
)
def test_the_axes_of_a_kernel_are_as_long_as_there_are_channels(
    layer: Any, shape: tuple[int, ...], inputs: int, outputs: int
) -> None:
    kernel = built(layer, *shape).kernel
    find = table.of(layer).kernel
    assert find is not None
    axes = find(layer, "kernel")
    assert [kernel.shape[axis] for axis in (*axes.inputs, *axes.outputs)] == [inputs, outputs]


def test_a_separable_convolution_has_a_depthwise_and_a_pointwise_kernel() -> None:
    layer = layers.SeparableConv2D(6, 3)
    assert convolutions.separable_kernel(layer, "depthwise_kernel") == Kernel((), (-2, -1))
    assert convolutions.separable_kernel(layer, "pointwise_kernel") == Kernel((-2,), (-1,))


def test_a_convolution_makes_channels_of_its_own() -> None:
    reads, writes = ends(layers.Conv2D(3, 1))
    assert len(set(reads)) == 4
    assert len(set(writes)) == 3
    assert not set(reads) & set(writes)


def test_channels_in_the_same_place_of_two_groups_are_tied() -> None:
    reads, writes = ends(layers.Conv2D(6, 1, groups=2))
    assert reads[:2] == reads[2:]
    assert writes[:3] == writes[3:]
    assert len(set(reads)) == 2
    assert len(set(writes)) == 3


def test_a_depthwise_convolution_writes_every_channel_as_often_as_its_multiplier() -> None:
    reads, writes = ends(layers.DepthwiseConv2D(3, depth_multiplier=2))
    assert writes == np.repeat(reads, 2).tolist()


@pytest.mark.parametrize(
    ("layer", "share"),
    [
        (layers.Conv2D(6, 3), Fraction(1, 8)),  # 1/2 of the inputs, 1/4 of the outputs
        (layers.DepthwiseConv2D(3), Fraction(1, 2)),
        # 3 3 4 = 36 depthwise and 4 6 = 24 pointwise weights: (36 / 2 + 24 / 8) / 60
        (layers.SeparableConv2D(6, 3), Fraction(21, 60)),
    ],
)
def test_the_share_of_the_macs_that_is_left(layer: Any, share: Fraction) -> None:
    built(layer, 8, 8, 4)
    assert table.of(layer).share(layer, Fraction(1, 2), Fraction(1, 4)) == share


def test_positions_are_all_sides_but_the_channels() -> None:
    last, first = layers.Conv2D(1, 1), layers.Conv2D(1, 1, data_format="channels_first")
    assert convolutions.positions(last, (None, 5, 7, 2)) == 35
    assert convolutions.positions(first, (None, 2, 5, 7)) == 35
    assert walk.size(built(layers.Conv2D(4, 3), 8, 8, 2).kernel) == 3 * 3 * 2 * 4
