"""Bounds of accumulators, worked out by hand and on a converted file."""

from typing import Any

import numpy as np
import pytest
from support import small

from pipeline.errors import ModelError
from pipeline.fixed_point import static
from pipeline.tflite import convert, read
from pipeline.tflite.read import Graph, Operator, Tensor

NONE = np.array([], np.float32)


def tensor(values: Any = None, dtype: str = "INT8", zero: int = 0, axis: int = 0) -> Tensor:
    data = None if values is None else np.array(values)
    shape = (1, 2) if data is None else data.shape
    return Tensor("t", dtype, shape, data, NONE, np.array([zero]), axis)


def bound(name: str, *inputs: Tensor) -> static.Bound:
    operator = Operator(0, name, inputs, (tensor(),))
    (found,) = static.bounds(Graph((operator,), inputs[:1], (tensor(),)))
    return found


def test_a_dense_layer_worked_out_by_hand() -> None:
    """Zero point -128: |x_q + 128| <= 255. 255 * (1 + 2) + 7 = 772; 255 * 200 + 0 = 51,000."""
    weights, bias = tensor([[1, -2], [100, 100]]), tensor([-7, 0], "INT32")
    found = bound("FULLY_CONNECTED", tensor(zero=-128), weights, bias)
    assert found.bounds == (772, 51_000)
    assert found.bits == 17  # 51,000 > 32,767
    assert found.narrow == 1
    assert found.pairs == 2


@pytest.mark.parametrize(
    ("zero", "reach"), [(-128, 255), (127, 255), (0, 128), (-1, 128), (3, 131)]
)
def test_the_zero_point_decides_how_far_data_reach(zero: int, reach: int) -> None:
    assert bound("FULLY_CONNECTED", tensor(zero=zero), tensor([[1]])).bounds == (reach,)


def test_filters_of_depthwise_and_transposed_kernels_are_on_their_axes() -> None:
    kernel = np.arange(8).reshape(1, 2, 2, 2)  # depthwise: 0 + 2 + 4 + 6 and 1 + 3 + 5 + 7
    assert bound("DEPTHWISE_CONV_2D", tensor(), tensor(kernel)).bounds == (12 * 128, 16 * 128)
    shape, kernel = tensor([1, 4, 4, 2], "INT32"), np.arange(8).reshape(2, 2, 2, 1)
    found = bound("TRANSPOSE_CONV", shape, tensor(kernel), tensor(zero=-128))
    assert found.bounds == (6 * 255, 22 * 255)


def test_16_bit_data_and_weights_with_a_zero_point() -> None:
    assert bound("FULLY_CONNECTED", tensor(dtype="INT16"), tensor([[3]])).bounds == (3 * 32768,)
    weights = tensor([[128, 130]], "UINT8", zero=128)
    assert bound("FULLY_CONNECTED", tensor(dtype="UINT8"), weights).bounds == (2 * 255,)


def test_computed_weights_count_as_the_largest() -> None:
    """[1, 2] x [2, 1]: two products of 255 and 128 each."""
    left = tensor(zero=-128)
    assert bound("BATCH_MATMUL", left, tensor()).bounds == (2 * 255 * 128,)


@pytest.fixture(scope="module")
def int8() -> Graph:
    model = small.network(small.classifier)
    images = np.random.default_rng(0).integers(0, 256, (20, *small.SHAPE)).astype(np.float32)
    return read.read(convert.ptq(model, images))


def test_no_image_overflows_the_bounds_of_a_file(int8: Graph) -> None:
    found = static.bounds(int8)
    assert [one.operator for one in found] == ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"]
    assert [one.pairs for one in found] == [27, 9, 4]
    first = int8.kernels[0].data
    assert first is not None
    data = np.where(first[0] > 0, 127, -128).reshape(-1).astype(np.int64)
    worst = int(first[0].reshape(-1).astype(np.int64) @ data)
    assert found[0].bounds[0] >= worst > 2**15
    told = static.as_json(found)
    assert told["int32_is_safe"]
    assert told["operators"][0]["bound"] == max(found[0].bounds)


def test_the_text_says_whether_int32_is_safe(int8: Graph) -> None:
    text = static.as_text(static.bounds(int8))
    assert "int32 is safe" in text
    assert max(map(len, text.splitlines())) <= 80
    wide = bound("FULLY_CONNECTED", tensor(dtype="INT16"), tensor([[127] * 600]))
    assert "int32 is not proved safe: operator 0 may need 33 bits" in static.as_text([wide])


def test_a_file_of_floats_is_refused() -> None:
    weights = tensor([[0.5]], "FLOAT32")
    with pytest.raises(ModelError, match="1 of 1 operators with weights compute with floats"):
        bound("FULLY_CONNECTED", tensor(dtype="FLOAT32"), weights)
    with pytest.raises(ModelError, match="no operator adds up products"):
        static.bounds(Graph((), (), ()))
