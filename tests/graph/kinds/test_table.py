"""MACs of layers counted by hand, and what is said of a layer that cannot be counted."""

from collections.abc import Callable
from typing import Any

import keras
import pytest
from keras import layers

from pipeline.errors import ModelError
from pipeline.graph import complexity
from pipeline.graph.kinds import table
from pipeline.graph.kinds.kind import Kind, Refusal

# One layer alone: the layer, the shape of its input, MACs by hand.
BY_HAND = {
    "conv valid": (lambda: layers.Conv2D(1, 5), (32, 32, 3), 5 * 5 * 3 * 28 * 28),
    "conv same, strided": (
        lambda: layers.Conv2D(8, 3, 2, padding="same"),
        (32, 32, 3),
        3 * 3 * 3 * 8 * 16 * 16,
    ),
    "conv not square": (lambda: layers.Conv2D(4, (3, 1)), (9, 5, 2), 3 * 2 * 4 * 7 * 5),
    "conv dilated": (
        lambda: layers.Conv2D(4, 3, dilation_rate=2),
        (32, 32, 3),
        3 * 3 * 3 * 4 * 28 * 28,
    ),
    "conv grouped": (
        lambda: layers.Conv2D(16, 3, groups=2, padding="same"),
        (10, 10, 8),
        3 * 3 * 4 * 16 * 10 * 10,
    ),
    "conv of one dimension": (
        lambda: layers.Conv1D(6, 3, padding="same"),
        (10, 4),
        3 * 4 * 6 * 10,
    ),
    "conv with channels first": (
        lambda: layers.Conv2D(2, 5, data_format="channels_first"),
        (3, 32, 32),
        5 * 5 * 3 * 2 * 28 * 28,
    ),
    "depthwise": (
        lambda: layers.DepthwiseConv2D(3, padding="same"),
        (32, 32, 8),
        3 * 3 * 8 * 32 * 32,
    ),
    "depthwise with a multiplier": (
        lambda: layers.DepthwiseConv2D(3, 2, depth_multiplier=2, padding="same"),
        (32, 32, 8),
        3 * 3 * 16 * 16 * 16,
    ),
    "separable": (
        lambda: layers.SeparableConv2D(16, 3, padding="same"),
        (10, 10, 8),
        (3 * 3 * 8 + 8 * 16) * 10 * 10,
    ),
    "transposed": (
        lambda: layers.Conv2DTranspose(6, 3, 2, padding="same"),
        (8, 8, 4),
        3 * 3 * 4 * 6 * 8 * 8,
    ),
    "dense": (lambda: layers.Dense(10), (64,), 64 * 10),
    "dense at every place": (lambda: layers.Dense(10), (5, 64), 64 * 10 * 5),
    "max pooling": (lambda: layers.MaxPooling2D(2), (8, 8, 4), 0),
    "batch normalization": (lambda: layers.BatchNormalization(), (8, 8, 4), 0),
    "group normalization": (lambda: layers.GroupNormalization(2), (8, 8, 4), 0),
    "activation with weights": (lambda: layers.PReLU(), (8, 8, 4), 0),
    "conv of three dimensions": (
        lambda: layers.Conv3D(5, 3, padding="same"),
        (4, 6, 7, 2),
        27 * 2 * 5 * 4 * 6 * 7,
    ),
    "transposed of one dimension": (
        lambda: layers.Conv1DTranspose(6, 3, 2, padding="same"),
        (8, 4),
        3 * 4 * 6 * 8,
    ),
    "transposed of three dimensions": (
        lambda: layers.Conv3DTranspose(6, 3, 2, padding="same"),
        (2, 3, 4, 5),
        27 * 5 * 6 * 2 * 3 * 4,
    ),
    "depthwise of one dimension": (
        lambda: layers.DepthwiseConv1D(3, padding="same"),
        (10, 8),
        3 * 8 * 10,
    ),
    "separable of one dimension": (
        lambda: layers.SeparableConv1D(16, 3, padding="same"),
        (10, 8),
        (3 * 8 + 8 * 16) * 10,
    ),
    "layer normalization": (lambda: layers.LayerNormalization(), (8, 8, 4), 0),
}


class Scale(keras.layers.Layer):
    """A layer that nobody can count: its weights say nothing of its multiplications."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.factor = self.add_weight(shape=(shape[-1],))

    def call(self, x: Any) -> Any:
        return x * self.factor


def count(body: Callable[[Any], Any], *shape: int | None) -> complexity.Profile:
    inputs = keras.Input(shape)
    return complexity.profile(keras.Model(inputs, body(inputs)))


@pytest.mark.parametrize("case", BY_HAND)
def test_a_layer_has_the_macs_counted_by_hand(case: str) -> None:
    make, shape, macs = BY_HAND[case]
    assert count(make(), *shape).macs == macs


def test_a_custom_layer_with_weights_is_an_error_that_names_it() -> None:
    with pytest.raises(ModelError, match=r"'my_scale'.*Received: Scale.*Conv2D"):
        count(Scale(name="my_scale"), 8, 8, 3)


def test_a_custom_layer_without_weights_costs_nothing() -> None:
    assert count(layers.Lambda(lambda x: x + 1), 8, 8, 3).macs == 0


def test_a_kind_that_is_refused_is_an_error_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(table.KINDS, "Scale", Kind(macs=Refusal("nobody knows its products")))
    with pytest.raises(ModelError, match=r"'mine': nobody knows its products\. Received: Scale"):
        count(Scale(name="mine"), 8, 8, 3)


@pytest.mark.parametrize("name", ["conv", "relu"])
def test_a_free_image_size_is_an_error_that_names_the_layer(name: str) -> None:
    make = {"conv": layers.Conv2D(1, 3, name="conv"), "relu": layers.ReLU(name="relu")}[name]
    with pytest.raises(ModelError, match=rf"'{name}'.*shape=\(None, None.*fixed image size"):
        count(make, None, None, 3)
