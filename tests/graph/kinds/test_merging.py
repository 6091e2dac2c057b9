"""Layers of several inputs: channels in the same place are tied, joined ones are kept apart."""

from typing import Any

import keras
import pytest
from keras import layers

from pipeline.graph import channels
from pipeline.graph.channels import Channels


def merged(merge: Any, widths: tuple[int, int]) -> tuple[Channels, list[list[int]]]:
    """The channels of a network, and the classes of its convolutions "a" and "b" and the merge."""
    inputs = keras.Input((6, 6, 1))
    pair = [layers.Conv2D(width, 1, name=n)(inputs) for n, width in zip("ab", widths, strict=True)]
    model = keras.Model(inputs, layers.Conv2D(1, 1)(merge(pair)))
    found = channels.find(model)
    made = [model.get_layer("a"), model.get_layer("b"), merge]
    return found, [found.writes[id(layer)].tolist() for layer in made]


@pytest.mark.parametrize("kind", ["Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"])
def test_channels_in_the_same_place_are_tied(kind: str) -> None:
    found, (a, b, both) = merged(getattr(layers, kind)(), (3, 3))
    assert a == b == both
    assert len(set(a)) == 3
    assert found.groups[0].writers == ("a", "b")


def test_a_single_channel_that_is_repeated_stays() -> None:
    found, (a, b, both) = merged(layers.Multiply(name="gate"), (3, 1))
    assert a == both
    assert found.fixed[b[0]] == "'gate' repeats it for every channel"
    assert not set(a) & set(found.fixed)


def test_joined_channels_stay_apart() -> None:
    _, (a, b, both) = merged(layers.Concatenate(), (3, 2))
    assert both == a + b
    assert len(set(both)) == 5


def test_places_that_are_joined_have_the_same_channels() -> None:
    _, (a, b, both) = merged(layers.Concatenate(axis=1), (3, 3))
    assert a == b == both
