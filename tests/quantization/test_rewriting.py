"""Operators that int8 lacks become others that compute the same."""

from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf
from support.small import converted

from pipeline.quantization import rewriting
from pipeline.tflite.read import Operator, read

SPEC = tf.TensorSpec((1, 4, 6), tf.float32)


def operators(function: Callable[[Any], Any]) -> tuple[list[Operator], list[Operator]]:
    before = list(read(converted(function, SPEC)).operators)
    return before, rewriting.rewritten(before)


@pytest.mark.parametrize(
    ("function", "old", "new"),
    [
        (tf.negative, ["NEG"], ["MUL"]),
        (tf.square, ["SQUARE"], ["MUL"]),
        (tf.abs, ["ABS"], ["ABS"]),
        (lambda x: tf.split(x, 3, axis=-1), ["SPLIT"], ["SLICE"] * 3),
        (lambda x: tf.split(x, [1, 5], axis=-1), ["SPLIT_V"], ["SLICE"] * 2),
        (lambda x: tf.unstack(x, axis=1), ["UNPACK"], ["SLICE", "RESHAPE"] * 4),
    ],
)
def test_an_operator_becomes_others(
    function: Callable[[Any], Any], old: list[str], new: list[str]
) -> None:
    before, after = operators(function)
    assert [op.name for op in before] == old
    assert [op.name for op in after] == new
    made = {id(t) for op in after for t in op.outputs}
    assert {id(t) for op in before for t in op.outputs} <= made


def test_parts_lie_side_by_side() -> None:
    _, parts = operators(lambda x: tf.split(x, [1, 2, 3], axis=-1))
    begins, sizes = ([op.inputs[place].data.tolist() for op in parts] for place in (1, 2))
    assert begins == [[0, 0, 0], [0, 0, 1], [0, 0, 3]]
    assert sizes == [[1, 4, 1], [1, 4, 2], [1, 4, 3]]
    assert [op.outputs[0].shape for op in parts] == [(1, 4, 1), (1, 4, 2), (1, 4, 3)]


def test_a_negation_is_a_product_with_minus_one() -> None:
    _, (product,) = operators(tf.negative)
    assert product.inputs[1].data.tolist() == [-1.0]
    _, (square,) = operators(tf.square)
    assert square.inputs[0] is square.inputs[1]
