"""Normalization and scales: which channels go together, and settings after some are removed."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.graph import channels
from pipeline.graph.channels import Channels
from pipeline.graph.kinds import normalization


def through(layer: Any) -> tuple[Channels, list[int]]:
    """The channels of a network, and the classes of the four that a layer in it writes."""
    inputs = keras.Input((6, 6, 1))
    x = layer(layers.Conv2D(4, 1, name="first")(inputs))
    found = channels.find(keras.Model(inputs, layers.Conv2D(1, 1)(x)))
    return found, found.writes[id(layer)].tolist()


def test_batch_normalization_leaves_channels_to_themselves() -> None:
    found, writes = through(layers.BatchNormalization())
    assert len(set(writes)) == 4
    assert not set(writes) & (set(found.fixed) | found.rigid)


def test_layer_normalization_ties_all_channels() -> None:
    found, writes = through(layers.LayerNormalization())
    assert len(set(writes)) == 1
    assert set(writes) <= found.rigid


@pytest.mark.parametrize(("groups", "classes"), [(1, 1), (2, 2), (4, 4)])
def test_group_normalization_ties_the_channels_of_a_group(groups: int, classes: int) -> None:
    found, writes = through(layers.GroupNormalization(groups))
    assert len(set(writes)) == classes
    assert writes == sorted(writes, key=writes.index)
    assert bool(set(writes) & found.rigid) == (groups < 4)


def test_normalization_along_another_axis_keeps_its_channels() -> None:
    found, writes = through(layers.BatchNormalization(axis=1))
    assert set(writes) <= set(found.fixed)


def test_groups_keep_their_width() -> None:
    layer = layers.GroupNormalization(4)
    copies = np.array([1, 0, 0, 1])
    writes = np.repeat(np.arange(4), 3)  # four groups of three channels
    assert normalization.fewer_groups(layer, {}, writes, copies) == {"groups": 2}


@pytest.mark.parametrize(
    ("layer", "stays"),
    [
        (layers.Rescaling(2.0, 1.0), False),
        (layers.Rescaling([1.0, 2.0, 3.0, 4.0]), True),
        (layers.Normalization(mean=[0.0] * 4, variance=[1.0] * 4), True),
    ],
)
def test_a_scale_for_each_channel_that_is_a_setting_keeps_the_channels(
    layer: Any, stays: bool
) -> None:
    found, writes = through(layer)
    assert (set(writes) <= set(found.fixed)) == stays


def test_a_refusal_is_the_reason_that_the_layer_before_it_gets() -> None:
    found, _ = through(layers.Normalization(mean=0.0, variance=1.0, name="norm"))
    first = found.writes[id(found.model.get_layer("first"))]
    reason = "its mean and variance of each channel are settings"
    assert found.fixed[int(first[0])].startswith(f"read by 'norm': {reason}")
