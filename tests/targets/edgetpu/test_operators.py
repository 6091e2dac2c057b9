"""Which operators the Edge TPU takes: each limit from both sides."""

import re
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.targets.edgetpu.operators import SOFTMAX_SIZE, unmapped
from pipeline.tflite.read import Operator, Tensor

MAP = (1, 8, 8, 4)


def tensor(shape: Sequence[int], dtype: str = "INT8", data: Any = None) -> Tensor:
    values = None if data is None else np.array(data, dtype.lower()).reshape(shape)
    scales, zero_points = np.array([0.5], np.float32), np.array([-3])
    return Tensor("t", dtype, tuple(shape), values, scales, zero_points)


def numbers(*values: Any) -> Tensor:
    return tensor(np.shape(values), "INT32", values)


def op(name: str, *inputs: Any, out: Any = MAP, **options: Any) -> Operator:
    """An operator; shapes stand for activations in int8."""
    read, written = (
        [t if isinstance(t, Tensor) else tensor(t) for t in tensors] for tensors in (inputs, [out])
    )
    return Operator(0, name, tuple(read), tuple(written), 1, SimpleNamespace(**options))


def kernel(*shape: int, dtype: str = "INT8") -> Tensor:
    return tensor(shape, dtype, np.ones(shape))


MAPPED = {
    "a sum of two": op("ADD", MAP, MAP),
    "a product with a constant": op("MUL", MAP, kernel()),
    "a convolution": op("CONV_2D", MAP, kernel(4, 3, 3, 4), numbers(0, 0, 0, 0)),
    "even dilation": op("CONV_2D", MAP, kernel(4, 3, 3, 4), dilationWFactor=2, dilationHFactor=2),
    "a dense layer": op("FULLY_CONNECTED", (1, 4), kernel(8, 4), out=(1, 8), weightsFormat=0),
    "uint8 to int8": op("QUANTIZE", tensor(MAP, "UINT8")),
    "a pooling": op("MAX_POOL_2D", MAP, fusedActivationFunction=0),
    "a concatenation": op("CONCATENATION", MAP, MAP, MAP),
    "a zero padding": op("CONCATENATION", MAP, tensor((1, 1), data=[[-3]])),
    "a mean of places": op("MEAN", MAP, numbers(1, 2)),
    "a mean of 4 channels": op("MEAN", MAP, numbers(-1)),
    "a sum of places": op("SUM", MAP, numbers(1, 2)),
    "stacked channels": op("PACK", (1, 8, 4), (1, 8, 4), out=(1, 8, 2, 4), axis=2),
    "padded places": op("PAD", MAP, numbers([0, 0], [1, 1], [1, 1], [0, 0])),
    "split channels": op("SPLIT", numbers(3), MAP),
    "a slope per channel": op("PRELU", MAP, kernel(1, 1, 4)),
    "a softmax": op("SOFTMAX", (1, SOFTMAX_SIZE)),
    "a slice by ones": op("STRIDED_SLICE", MAP, *[numbers(1, 1)] * 3),
    "dropped leading ones": op("SQUEEZE", (1, 1, 4), out=(4,), squeezeDims=[0, 1]),
    "dropped ones, unnamed": op("SQUEEZE", (1, 1, 4), out=(4,), squeezeDims=None),
    "enlarged maps": op("RESIZE_BILINEAR", MAP, numbers(16, 16)),
    "tiles": op("TILE", MAP, numbers(1, 2, 2, 1)),
}
UNMAPPED = {
    "hard-swish": (op("HARD_SWISH", MAP), "is not supported"),
    "a float sum": (op("ADD", tensor(MAP, "FLOAT32"), MAP), "floating point"),
    "a float of an unknown kind": (op("NEG", tensor(MAP, "FLOAT32")), "floating point"),
    "a sum of words": (op("ADD", tensor(MAP, "INT16"), MAP), "INT16"),
    "a batch": (op("ADD", (2, 8, 8, 4), (2, 8, 8, 4)), r"\[2, 8, 8, 4\]"),
    "five sides": (op("ADD", (1, 8, 8, 4, 1), MAP), r"\[1, 8, 8, 4, 1\]"),
    "weights that may change": (op("CONV_2D", MAP, (4, 3, 3, 4)), "parameters that may change"),
    "half bytes": (op("CONV_2D", MAP, kernel(4, 3, 3, 4, dtype="INT16")), "INT16"),
    "uneven dilation": (
        op("CONV_2D", MAP, kernel(4, 3, 3, 4), dilationWFactor=2, dilationHFactor=1),
        "dilations",
    ),
    "dense over places": (op("FULLY_CONNECTED", MAP, kernel(4, 4)), r"output \[1, 8, 8, 4\]"),
    "shuffled weights": (
        op("FULLY_CONNECTED", (1, 4), kernel(8, 4), out=(1, 8), weightsFormat=1),
        "shuffled",
    ),
    "a pooling with ReLU": (op("AVERAGE_POOL_2D", MAP, fusedActivationFunction=1), "activation"),
    "a concatenation with ReLU": (
        op("CONCATENATION", MAP, MAP, fusedActivationFunction=1),
        "activation",
    ),
    "a constant beside": (op("CONCATENATION", MAP, tensor((1, 1), data=[[0]])), "constant"),
    "zeros beside two": (op("CONCATENATION", MAP, MAP, tensor((1,), data=[-3])), "constant"),
    "a mean of the batch": (op("MEAN", MAP, numbers(0)), "batch"),
    "a mean of 6 channels": (op("MEAN", (1, 8, 8, 6), numbers(3)), "6 channels"),
    "a maximum of the batch": (op("REDUCE_MAX", MAP, numbers(-4)), "batch"),
    "a stacked batch": (op("PACK", MAP, MAP, axis=0), "batch"),
    "a padded batch": (op("PAD", MAP, numbers([0, 1], [0, 0], [0, 0], [0, 0])), "batch"),
    "a split batch": (op("SPLIT", numbers(0), MAP), "batch"),
    "a slope per place": (op("PRELU", MAP, kernel(8, 8, 4)), "shared_axes"),
    "softmax over places": (op("SOFTMAX", MAP), "vector"),
    "a long softmax": (op("SOFTMAX", (1, SOFTMAX_SIZE + 1)), "16,000"),
    "a slice by twos": (
        op("STRIDED_SLICE", MAP, numbers(0, 0), numbers(8, 8), numbers(2, 2)),
        "strides",
    ),
    "a slice with a new axis": (
        op("STRIDED_SLICE", MAP, *[numbers(1, 1)] * 3, newAxisMask=1),
        "new axis",
    ),
    "a dropped inner one": (op("SQUEEZE", (1, 8, 1, 4), squeezeDims=[2]), "leading"),
    "an enlarged pixel": (op("RESIZE_BILINEAR", (1, 1, 1, 4), numbers(33, 33)), "single place"),
    "a mean of nothing": (op("MEAN", MAP), "lacks"),
    "a split of nothing": (op("SPLIT", numbers(3)), "lacks"),
}


@pytest.mark.parametrize("case", MAPPED)
def test_an_operator_within_its_limits_is_mapped(case: str) -> None:
    assert unmapped(MAPPED[case]) is None


@pytest.mark.parametrize("case", UNMAPPED)
def test_an_operator_beyond_its_limits_is_not_mapped_with_the_limit_as_the_reason(
    case: str,
) -> None:
    operator, reason = UNMAPPED[case]
    assert re.search(reason, unmapped(operator) or "mapped")
