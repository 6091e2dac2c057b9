"""Every operator of a file can be cut out, and computes alone what it computes in the whole."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from support.small import converted

from pipeline.bench import slicing
from pipeline.bench.slicing import CONSTANT, Slice
from pipeline.tflite import convert, interpreter
from pipeline.tflite.read import read


def network() -> keras.Model:
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, activation="relu")(inputs)
    x = layers.Add()([x, layers.DepthwiseConv2D(3, padding="same")(x)])
    x = layers.Concatenate()([layers.MaxPooling2D(2)(x), layers.AveragePooling2D(2)(x)])
    return keras.Model(inputs, layers.Softmax()(layers.Dense(5)(layers.Flatten()(x))))


@pytest.fixture(scope="module")
def floating() -> bytes:
    return convert.convert_float(network())


@pytest.fixture(scope="module")
def int8() -> bytes:
    images = np.random.default_rng(0).integers(0, 256, (4, 12, 12, 3)).astype(np.float32)
    return convert.ptq(network(), images)


@pytest.fixture(params=["floating", "int8"])
def content(request: pytest.FixtureRequest) -> bytes:
    return request.getfixturevalue(request.param)


def pieces(model: bytes) -> list[Slice]:
    return list(slicing.cut(model, interpreter.values(model, slicing.wanted(model))))


def made(piece: Slice) -> list[np.ndarray]:
    """What a slice computes of its values."""
    runner = interpreter.open(piece.model or b"")
    interpreter.feed(runner, piece.feeds)
    interpreter.invoke(runner)
    return [runner.get_tensor(detail["index"]) for detail in runner.get_output_details()]


def computed(model: bytes) -> Mapping[int, np.ndarray]:
    """What every operator computes in the whole, by index of the first output."""
    outputs = [int(op.outputs[0]) for op in slicing._Cutter(model, {}).graph.operators]
    found = interpreter.values(model, outputs)
    return {i: found[output] for i, output in enumerate(outputs)}


def test_there_is_a_slice_of_every_operator_with_that_operator_alone(content: bytes) -> None:
    found = pieces(content)
    expected = [[op.name] for op in read(content).operators]
    graphs = [read(piece.model or b"") for piece in found]
    assert [[op.name for op in graph.operators] for graph in graphs] == expected


def test_an_operator_computes_alone_what_it_computes_in_the_whole(content: bytes) -> None:
    whole = computed(content)
    for piece in pieces(content):
        (alone,) = made(piece)
        step = 1 if alone.dtype.kind in "iu" else 1e-5  # XNNPACK may round the other way
        difference = np.abs(alone.astype(float) - whole[piece.index].astype(float))
        assert np.max(difference) <= step, piece.index


def test_slices_are_small(content: bytes) -> None:
    assert sum(len(piece.model or b"") for piece in pieces(content)) < 2 * len(content)


def test_slices_keep_options_and_quantization(int8: bytes) -> None:
    for op, piece in zip(read(int8).operators, pieces(int8), strict=True):
        (alone,) = read(piece.model or b"").operators
        assert vars(alone.options or object) == vars(op.options or object)
        assert [t.scales.tolist() for t in alone.outputs] == [t.scales.tolist() for t in op.outputs]


def test_operators_with_other_weights_alone_are_of_one_kind() -> None:
    inputs = keras.Input((8, 8, 4))
    x = layers.Conv2D(4, 3, padding="same")(layers.Conv2D(4, 3, padding="same")(inputs))
    x = layers.Conv2D(4, 3)(layers.Conv2D(4, 1)(x))
    kinds = [p.kind for p in pieces(convert.convert_float(keras.Model(inputs, x)))]
    assert kinds[0] == kinds[1]
    assert len(set(kinds)) == 3


def test_an_axis_is_a_part_of_the_kind() -> None:
    def function(x: Any) -> Any:
        return tf.reduce_sum(x, 1, keepdims=True) + tf.reduce_sum(x, 2, keepdims=True)

    content = converted(function, tf.TensorSpec((1, 4, 4)))
    kinds = [p.kind for p in pieces(content)]
    assert len(kinds) == len(set(kinds)) == 3


def test_a_shape_that_is_computed_is_given_as_it_was() -> None:
    def function(x: Any, zeros: Any) -> Any:
        return tf.reshape(x, 0 * zeros + [4, 1])

    content = converted(function, tf.TensorSpec((2, 2)), tf.TensorSpec((2,), tf.int32))
    names = [op.name for op in read(content).operators]
    (reshape,) = made(pieces(content)[names.index("RESHAPE")])
    assert reshape.shape == (4, 1)


def test_weights_kept_as_float16_are_constants_of_the_operator() -> None:
    weights = tf.constant(np.random.default_rng(0).random((64, 64)), tf.float32)
    content = converted(lambda x: x @ weights, tf.TensorSpec((1, 64)), half=True)
    names = [op.name for op in read(content).operators]
    first, second = pieces(content)
    assert names == ["DEQUANTIZE", "FULLY_CONNECTED"]
    assert (first.model, first.reason) == (None, CONSTANT)
    (dense,) = read(second.model or b"").operators
    assert dense.kernel is not None
    assert dense.kernel.dtype == "FLOAT32"
    assert len(second.feeds) == 1


def test_an_operator_that_runs_another_part_of_the_file_is_refused() -> None:
    def function(x: Any) -> Any:
        return tf.while_loop(lambda y: tf.reduce_sum(y) < 100.0, lambda y: (y + 1.0,), (x,))[0]

    content = converted(function, tf.TensorSpec((4,)))
    reasons = {
        op.name: piece.reason
        for op, piece in zip(read(content).operators, pieces(content), strict=True)
    }
    assert reasons["WHILE"] == "runs another part of the file"
