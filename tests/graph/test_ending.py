"""Which function makes the scores of a model, and of what kind they are."""

from typing import Any

import keras
import pytest
from keras import layers, ops
from support.heads import HEADS, network

from pipeline.data.datasets import Dataset
from pipeline.graph import ending


def model(end: Any, shape: tuple[int, ...] = (8, 8, 3)) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape)
    return keras.Model(inputs, end(layers.Flatten()(layers.Rescaling(1 / 255)(inputs))))


@pytest.mark.parametrize("name", HEADS)
def test_the_kind_of_scores_is_seen_in_a_model_as_it_is_given(name: str, digits: Dataset) -> None:
    head = HEADS[name]
    assert ending.kind(network(name, digits)) == ("logits" if head.meant else head.kind)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("nested", "softmax"),
        ("convolution, squeeze", "softmax"),
        ("clip", "softmax"),
        ("ops.log_softmax", "logsoftmax"),
        ("sigmoid, reshape", "sigmoid"),
        ("logits", ""),
        ("average", ""),
    ],
)
def test_what_changes_nothing_is_passed(name: str, function: str, digits: Dataset) -> None:
    assert ending.of(network(name, digits)).function == function


@pytest.mark.parametrize(
    "end",
    [
        lambda x: layers.Dropout(0.1)(layers.Dense(4)(x)),
        lambda x: layers.Softmax(axis=1)(layers.Reshape((3, 1))(layers.Dense(3)(x))),
        lambda x: layers.Rescaling(2.0)(layers.Softmax()(layers.Dense(4)(x))),
        lambda x: layers.Reshape((2, 2))(layers.Softmax()(layers.Dense(4)(x))),
        lambda x: ops.clip(layers.Dense(4)(x), 0, 1),
    ],
)
def test_what_changes_scores_is_not_passed(end: Any) -> None:
    assert ending.of(model(end)).function not in ending.ALONE


def test_the_input_of_a_last_softmax_or_sigmoid_is_found() -> None:
    for end in (layers.Softmax(), layers.Activation("sigmoid")):
        whole = model(lambda x, end=end: end(layers.Dense(4, name="dense")(x)))
        assert ending.logits(whole.outputs[0]) is whole.get_layer("dense").output
    assert ending.logits(model(layers.Dense(4, activation="softmax")).outputs[0]) is None


@pytest.mark.parametrize(
    ("end", "signed"),
    [
        (layers.Dense(4, "tanh"), True),
        (lambda x: 0.5 * (layers.Dense(4, "tanh")(x) + layers.Dense(4, "tanh")(x)), True),
        (lambda x: 0.5 * (layers.Dense(4, "tanh")(x) + 1.0), False),
        (lambda x: layers.Rescaling(0.5, 0.5)(layers.Dense(4, "tanh")(x)), False),
        (lambda x: layers.Dense(4)(layers.Dense(4, "tanh")(x)), False),
        (layers.Dense(4), False),
    ],
)
def test_scores_of_a_hinge_loss_are_known(end: Any, signed: bool) -> None:
    assert ending.is_signed(model(end)) == signed
    if signed:
        assert ending.kind(model(end)) == "logits"


def test_any_size_and_a_fixed_batch_can_be_judged() -> None:
    def mean(x: Any) -> Any:
        ends = [layers.Softmax()(layers.Dense(4)(x)) for _ in range(2)]
        return layers.Average()(ends)

    inputs = keras.Input((None, None, 3))
    x = layers.GlobalAveragePooling2D()(inputs)
    assert ending.kind(keras.Model(inputs, mean(x))) == "softmax"
    fixed = keras.Input(batch_shape=(3, 8, 8, 3))
    x = layers.GlobalAveragePooling2D()(fixed)
    assert ending.kind(keras.Model(fixed, mean(x))) == "softmax"


def test_unscaled_pixels_that_overflow_do_not_hide_the_kind() -> None:
    def by_hand(x: Any) -> Any:
        powers = ops.exp(layers.Dense(4)(255.0 * x))
        return powers / ops.sum(powers, axis=-1, keepdims=True)

    assert ending.kind(model(by_hand)) == "softmax"
