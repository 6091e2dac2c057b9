"""Operations such as `x * 2` become layers of tf_keras, or are refused by name."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from support.crossing import assert_same, conv, network

from pipeline.errors import ModelError
from pipeline.quantization.tfmot import bridge


@pytest.mark.parametrize(
    "body",
    [
        lambda x: x + conv(x),
        lambda x: x * conv(x) - x,
        lambda x: 3.0 - x,
        lambda x: (x * 2.0 + 1.0) / 4.0,
        lambda x: -x * np.array([1.0, 2.0, 3.0, 4.0], "float32"),
        lambda x: layers.ReLU(6.0)(x + 3.0) * (1.0 / 6.0),
        lambda x: keras.ops.hard_silu(4 * x),
        lambda x: keras.ops.hard_sigmoid(4 * x),
        lambda x: keras.ops.softmax(keras.ops.gelu(x, approximate=False)),
        lambda x: keras.ops.reshape(x, (-1, 9 * 8 * 4)),
        lambda x: keras.ops.mean(x, axis=(1, 2), keepdims=True),
        lambda x: keras.ops.concatenate([keras.ops.maximum(x, conv(x)), x], axis=-1),
    ],
)
def test_an_operation_becomes_a_layer(body: Callable[[Any], Any]) -> None:
    model = network(body)
    assert_same(model, bridge.to_legacy(model))


@pytest.mark.parametrize(
    ("body", "operation"),
    [
        (lambda x: 2.0 / x, "TrueDivide"),
        (lambda x: keras.ops.sin(x), "Sin"),
        (lambda x: keras.ops.maximum(x, 0.0), "Maximum"),
        (lambda x: keras.ops.mean(x, axis=1), "Mean"),
    ],
)
def test_an_operation_without_a_layer_is_an_error_that_names_it(
    body: Callable[[Any], Any], operation: str
) -> None:
    with pytest.raises(ModelError, match=f"Received: operation {operation}. Use a layer"):
        bridge.to_legacy(network(body))
