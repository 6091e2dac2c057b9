"""LiteRT on files of any kind: every input can be made up, and what it refuses is one error."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from support.small import converted

from pipeline.errors import ModelError
from pipeline.tflite import interpreter
from pipeline.tflite.read import read
from pipeline.tflite.write import changed


@pytest.fixture(scope="module")
def total() -> bytes:
    """The sum of two inputs of one shape and two types."""
    return converted(
        lambda a, b: a + tf.cast(b, tf.float32),
        tf.TensorSpec((2, 3)),
        tf.TensorSpec((2, 3), tf.int32),
    )


def outputs(runner: Any) -> list[np.ndarray]:
    _, found = interpreter.ends(runner)
    return [runner.get_tensor(detail["index"]) for detail in found]


def fed(model: bytes, *arrays: np.ndarray) -> np.ndarray:
    runner = interpreter.open(model)
    interpreter.feed(runner, arrays)
    interpreter.invoke(runner)
    (found,) = outputs(runner)
    return found


def test_inputs_are_fed_in_the_order_of_the_file(total: bytes) -> None:
    halves, ones = np.full((2, 3), 0.5, np.float32), np.ones((2, 3), np.int32)
    arrays = {"FLOAT32": halves, "INT32": ones}
    ordered = [arrays[tensor.dtype] for tensor in read(total).inputs]
    np.testing.assert_array_equal(fed(total, *ordered), np.full((2, 3), 1.5))


@pytest.mark.parametrize(
    "arrays",
    [(), (np.zeros((2, 3), np.float64),) * 2, (np.zeros((4, 4), np.float32),) * 2],
    ids=len,
)
def test_inputs_that_do_not_fit_are_refused(total: bytes, arrays: tuple[Any, ...]) -> None:
    with pytest.raises(ModelError, match="LiteRT refuses"):
        fed(total, *arrays)


def test_the_same_seed_fills_the_inputs_with_the_same_values(int8: bytes) -> None:
    found = []
    for seed in (0, 0, 1):
        runner = interpreter.open(int8)
        interpreter.fill(runner, seed)
        (detail,), _ = interpreter.ends(runner)
        found.append(runner.get_tensor(detail["index"]))
    np.testing.assert_array_equal(found[0], found[1])
    assert np.any(found[0] != found[2])


@pytest.mark.parametrize(
    "dtype", [tf.float32, tf.int8, tf.uint8, tf.int16, tf.int32, tf.int64, tf.bool, tf.complex64]
)
def test_an_input_of_any_type_of_numbers_can_be_made_up(dtype: tf.DType) -> None:
    model = converted(lambda x: tf.reshape(x, (64,)), tf.TensorSpec((8, 8), dtype))
    runner = interpreter.open(model)
    interpreter.fill(runner)
    interpreter.invoke(runner)
    (found,) = outputs(runner)
    assert found.dtype == dtype.as_numpy_dtype
    assert len(np.unique(found)) > 1


def test_words_cannot_be_made_up() -> None:
    model = converted(lambda x: tf.reshape(x, (4,)), tf.TensorSpec((2, 2), tf.string))
    with pytest.raises(ModelError, match="Received: type"):
        interpreter.fill(interpreter.open(model))


def test_what_every_operator_makes_can_be_read_after_a_run(floating: bytes) -> None:
    graph = read(floating)
    found = interpreter.values(
        floating, range(len(interpreter.open(floating).get_tensor_details()))
    )
    shapes = {tuple(value.shape) for value in found.values()}
    assert {op.outputs[0].shape for op in graph.operators} <= shapes
    assert {kernel.shape for kernel in graph.kernels} <= shapes


def test_the_graph_of_the_runtime_begins_with_the_operators_of_the_file(floating: bytes) -> None:
    names = [node["op_name"] for node in interpreter.nodes(interpreter.open(floating))]
    operators = [op.name for op in read(floating).operators]
    assert names[: len(operators)] == operators
    kept = interpreter.open(floating, keep=True)  # without XNNPACK there are no others
    assert [node["op_name"] for node in interpreter.nodes(kept)] == operators


def test_a_file_that_the_runtime_cannot_load_is_refused_in_one_line(floating: bytes) -> None:
    def misshape(root: Any) -> None:
        graph = root.subgraphs[0]
        graph.tensors[graph.inputs[0]].shape = [1, 12, 12, 5]

    with pytest.raises(ModelError, match="LiteRT refuses") as caught:
        interpreter.open(changed(floating, misshape))
    assert "\n" not in str(caught.value)


def test_the_runtime_starts_without_keras() -> None:
    code = (
        "import sys; from pipeline.tflite import interpreter; interpreter.preload()\n"
        "print({'keras', 'tensorflow'} & set(sys.modules))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout == "set()\n"
