"""Walking a network: every call once, in order, with nested models opened."""

from typing import Any

import keras
import pytest
from keras import layers

from pipeline.errors import ModelError
from pipeline.graph import walk


def test_calls_come_after_what_they_read() -> None:
    inputs = keras.Input((4,))
    a = layers.Dense(3, name="a")(inputs)
    b = layers.Dense(3, name="b")(a)
    model = keras.Model(inputs, layers.Add(name="sum")([a, b]))
    calls = list(walk.calls(model))
    assert [layer.name for layer, _, _ in calls] == ["a", "b", "sum"]
    (_, of_a, made_a), (_, of_b, made_b), (_, of_sum, _) = calls
    assert of_a == [model.inputs[0]]
    assert of_b == [made_a]
    assert of_sum == [made_a, made_b]


def test_a_nested_model_is_opened_between_the_tensors_around_it() -> None:
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(3, name="in"), layers.ReLU()])
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(2, name="out")(inner(inputs)))
    calls = list(walk.calls(model))
    assert [layer.name for layer, _, _ in calls][::2] == ["in", "out"]
    assert calls[0][1] == [model.inputs[0]]
    assert calls[2][1] == [calls[1][2]]


def test_two_calls_of_a_nested_model_have_tensors_of_their_own() -> None:
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(3), layers.ReLU()])
    inputs = keras.Input((3,))
    calls = list(walk.calls(keras.Model(inputs, inner(inner(inputs)))))
    assert len(calls) == 4
    assert len({id(output) for _, _, output in calls}) == 4
    assert calls[2][1] == [calls[1][2]]


def test_a_layer_that_is_called_twice_is_listed_once() -> None:
    shared, inputs = layers.Dense(3), keras.Input((3,))
    model = keras.Model(inputs, shared(shared(inputs)))
    assert len(list(walk.calls(model))) == 2
    assert walk.layers(model) == [shared]


def test_the_size_of_a_weight_is_the_product_of_its_sides() -> None:
    layer = layers.Conv2D(5, (2, 3))
    layer.build((None, 8, 8, 4))
    assert walk.size(layer.kernel) == 2 * 3 * 4 * 5


class Subclassed(keras.Model):
    def call(self, x: Any) -> Any:
        return x


@pytest.mark.parametrize(
    "model", [Subclassed(), keras.Sequential([layers.Dense(3)])], ids=["Subclassed", "Sequential"]
)
def test_a_model_without_a_graph_is_an_error_that_names_its_class(model: keras.Model) -> None:
    with pytest.raises(ModelError, match=f"Received: {type(model).__name__}"):
        walk.graph(model)
