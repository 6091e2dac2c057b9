"""What operators compute in Keras is what LiteRT computes of the same file, in float."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from support.small import converted

from pipeline.errors import ModelError
from pipeline.quantization import operators
from pipeline.quantization.network import Step, Value
from pipeline.tflite.read import read

SPEC = tf.TensorSpec((1, 6, 5, 4), tf.float32)
X = np.random.default_rng(0).normal(size=(3, 6, 5, 4)).astype(np.float32)
KERNEL = tf.constant(np.random.default_rng(1).normal(size=(3, 3, 4, 4)), tf.float32)

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "max pool": lambda x: tf.nn.max_pool2d(x, 3, 2, "SAME"),
    "average pool": lambda x: tf.nn.avg_pool2d(x, (2, 3), 1, "SAME"),
    "mean": lambda x: tf.reduce_mean(x, (1, 2), keepdims=True),
    "maximum of channels": lambda x: tf.reduce_max(x, -1),
    "elu": tf.nn.elu,
    "leaky": lambda x: tf.nn.leaky_relu(x, 0.3),
    "gelu": lambda x: tf.nn.gelu(x, approximate=True),
    "softmax": tf.nn.softmax,
    "mirror": lambda x: tf.pad(x, [[0, 0], [1, 2], [2, 1], [0, 0]], "REFLECT"),
    "symmetric": lambda x: tf.pad(x, [[0, 0], [1, 2], [2, 1], [0, 0]], "SYMMETRIC"),
    "tile": lambda x: tf.tile(x, [1, 2, 1, 3]),
    "bilinear": lambda x: tf.image.resize(x, (9, 4)),
    "nearest": lambda x: tf.image.resize(x, (9, 4), "nearest"),
    "slice": lambda x: x[:, 1:-1, ::2, 2],
    "part": lambda x: tf.slice(x, [0, 1, 0, 2], [1, 3, -1, 2]),
    "transpose": lambda x: tf.transpose(x, (0, 3, 1, 2)),
    "matrices": lambda x: tf.matmul(x, x, transpose_b=True),
    "stack": lambda x: tf.stack([x, -x][:1] * 2, axis=2),
}


def litert(content: bytes, image: np.ndarray) -> np.ndarray:
    runtime = Interpreter(model_content=content)
    runtime.allocate_tensors()
    runtime.set_tensor(runtime.get_input_details()[0]["index"], image[None])
    runtime.invoke()
    return np.asarray(runtime.get_tensor(runtime.get_output_details()[0]["index"]))[0]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_keras_computes_what_litert_computes(name: str) -> None:
    content = converted(FUNCTIONS[name], SPEC)
    values: dict[int, Any] = {}
    graph = read(content)
    values[id(graph.inputs[0])] = tf.constant(X)
    for op in graph.operators:
        reads = [Value(t.name, t.shape, t.data) for t in op.inputs]
        makes = [Value(t.name, t.shape) for t in op.outputs]
        step = Step(op.name, reads, makes, op.options)
        given = [values.get(id(t), t.data) for t in op.inputs]
        values[id(op.outputs[0])] = operators.compute(step, given)
    received = np.asarray(values[id(graph.outputs[0])])
    expected = np.stack([litert(content, image) for image in X])
    np.testing.assert_allclose(received, expected, atol=1e-5)


def test_an_operator_without_a_rule_is_refused_by_name() -> None:
    step = Step("SIN", [], [Value("sine", (1, 2))], layer="wave")
    with pytest.raises(ModelError, match=r"layer 'wave' cannot be quantized.*Received: SIN"):
        operators.compute(step, [X])


def test_what_would_mix_images_is_refused_by_name() -> None:
    order = Value("order", (4,), np.int32([1, 0, 2, 3]))
    step = Step("TRANSPOSE", [Value("x", SPEC.shape), order], [Value("y", (6, 1, 5, 4))], layer="t")
    with pytest.raises(ModelError, match=r"layer 't'.*the axis of the images"):
        operators.compute(step, [X, order.data])
