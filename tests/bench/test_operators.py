"""The operators of a file are timed alone, those of the same work once."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from support.small import converted

from pipeline.bench import operators, timing
from pipeline.bench.slicing import CONSTANT
from pipeline.tflite import convert
from pipeline.tflite.read import read


def test_operators_are_timed_in_the_order_of_the_file(large: Path) -> None:
    file = timing.read(large)
    found = operators.times(file.content, file.graph, 1, 0.1)
    assert [(row.index, row.name, row.macs) for row in found] == [
        (op.index, op.name, op.macs) for op in file.graph.operators
    ]
    assert all(row.microseconds > 0 and row.reason is None for row in found)
    assert sum(operators.shares(found).values()) == pytest.approx(1)


def test_the_operator_with_the_most_work_takes_the_longest(large: Path) -> None:
    file = timing.read(large)
    found = operators.times(file.content, file.graph, 1, 0.1)
    slowest = max(found, key=lambda row: row.microseconds or 0)
    assert slowest.layer == "second"
    assert slowest.macs == max(row.macs for row in found)


def test_operators_that_do_the_same_work_are_timed_once(place: Path) -> None:
    inputs = keras.Input((8, 8, 4))
    x = layers.Conv2D(4, 3, padding="same")(layers.Conv2D(4, 3, padding="same")(inputs))
    (path := place / "twice.tflite").write_bytes(convert.convert_float(keras.Model(inputs, x)))
    file = timing.read(path)
    one, other = operators.times(file.content, file.graph, 1, 0.1)
    assert (one.timed_as, other.timed_as) == (0, 0)
    assert one.microseconds == other.microseconds


def test_an_operator_that_does_not_run_alone_has_a_reason_and_no_time() -> None:
    weights = tf.constant(np.random.default_rng(0).random((64, 64)), tf.float32)
    content = converted(lambda x: x @ weights, tf.TensorSpec((1, 64)), half=True)
    unpacked, dense = operators.times(content, read(content), 1, 0.1)
    assert (unpacked.microseconds, unpacked.reason) == (None, CONSTANT)
    assert dense.microseconds > 0
    assert operators.shares([unpacked, dense]) == {dense.index: 1.0}


def test_progress_is_told_once_for_every_kind_in_every_pass() -> None:
    content = converted(lambda x: tf.tanh(x) + 1.0, tf.TensorSpec((1, 8)))
    told: list[tuple[int, int]] = []
    operators.times(content, read(content), 1, 0.01, lambda done, total: told.append((done, total)))
    total = 2 * operators.PASSES
    assert told == [(done, total) for done in range(1, total + 1)]
