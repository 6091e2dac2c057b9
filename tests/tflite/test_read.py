"""What is read from a file: operators, constants, MACs, memory; broken files are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from keras import layers
from support.damage import flipped, mutated, noise, smeared, truncated
from support.families import slowly
from support.small import converted, network

import search_spaces
from pipeline.errors import ModelError
from pipeline.graph import complexity
from pipeline.tflite import convert
from pipeline.tflite.read import Tensor, load, read
from pipeline.tflite.read import _unpacked as unpacked
from pipeline.tflite.write import changed
from search_spaces.base import Cheapest, build


def test_every_operator_of_a_float_file_is_a_float_operator(floating: bytes) -> None:
    graph = read(floating)
    assert graph.float_operators == graph.operators


@pytest.mark.slow
@slowly()
def test_a_family_has_as_many_macs_in_the_file_as_in_keras(name: str) -> None:
    model = build(name, search_spaces.family(name).sample(Cheapest()), (32, 32, 3), 10)
    operators = read(convert.convert_float(model)).operators
    assert sum(op.macs for op in operators) == complexity.profile(model).macs


@pytest.mark.parametrize(
    "body",
    [
        layers.Conv2D(4, (3, 2), 2, use_bias=False),
        layers.Conv2D(6, 3, groups=3),
        layers.Conv2D(6, 3, dilation_rate=2),
        layers.DepthwiseConv2D(3, depth_multiplier=2),
        layers.Conv2DTranspose(4, 3, 2, padding="same"),
        lambda x: layers.Dense(5)(layers.Flatten()(x)),
        layers.Dense(5),
    ],
    ids=["conv", "grouped", "dilated", "depthwise", "transposed", "dense", "dense at every place"],
)
def test_a_layer_has_as_many_macs_in_the_file_as_in_keras(body: Callable[[Any], Any]) -> None:
    model = network(body)
    operators = read(convert.convert_float(model)).operators
    assert sum(op.macs for op in operators) == complexity.profile(model).macs > 0


def test_constants_are_read_with_their_values(model: keras.Model, floating: bytes) -> None:
    dense = read(floating).kernels[-1]
    np.testing.assert_array_equal(dense.data, np.asarray(model.layers[-2].kernel).T)


def test_the_peak_of_memory_is_of_what_is_alive_at_once(floating: bytes, int8: bytes) -> None:
    pixels = 12 * 12 * 3
    assert read(int8).peak_memory_bytes == 2 * pixels  # as uint8 and as int8
    assert read(floating).peak_memory_bytes == 4 * (pixels + 5 * 5 * 4)  # a convolution


def test_memory_without_a_fixed_size_is_an_error() -> None:
    nothing = np.array([])
    tensor = Tensor("words", "STRING", (3,), None, nothing, nothing)
    with pytest.raises(ModelError, match=r"'words'.*STRING.*BOOL"):
        _ = tensor.bytes


@pytest.mark.parametrize("content", [b"", b"TFL3", b"<html></html>", b"\x89PNG\r\n\x1a\n" * 9])
def test_what_is_not_a_tflite_file_is_refused(content: bytes) -> None:
    with pytest.raises(ModelError, match=f"Received: {len(content)} bytes"):
        read(content)


@pytest.mark.parametrize("mutation", [truncated, noise])
def test_a_truncated_file_and_noise_are_refused(
    content: bytes, mutation: Callable[..., bytes]
) -> None:
    for broken in mutated(content, mutation, 20):
        with pytest.raises(ModelError):
            read(broken)


@pytest.mark.parametrize("mutation", [flipped, smeared])
def test_a_damaged_file_is_read_or_refused(content: bytes, mutation: Callable[..., bytes]) -> None:
    refused = 0
    for broken in mutated(content, mutation, 150):
        try:
            graph = read(broken)
            assert isinstance(sum(op.macs for op in graph.operators), int)
            assert len(graph.float_operators) <= len(graph.operators) >= len(graph.kernels)
        except ModelError:
            refused += 1
    assert 0 < refused < 150


def quantization(root: Any, **values: list[Any]) -> None:
    """Change the scale or zero point of the output of the addition."""
    graph = root.subgraphs[0]
    codes = [code.builtinCode for code in root.operatorCodes]
    (add,) = (op for op in graph.operators if codes[op.opcodeIndex] == schema.BuiltinOperator.ADD)
    for name, value in values.items():
        setattr(graph.tensors[add.outputs[0]].quantization, name, value)


@pytest.mark.parametrize(
    "values",
    [{"zeroPoint": [8_388_608]}, {"zeroPoint": [-129]}, {"scale": [-1.0]}, {"scale": [np.nan]}],
    ids=str,
)
def test_numbers_that_would_end_the_process_are_refused(int8: bytes, values: Any) -> None:
    with pytest.raises(ModelError, match=r"bytes \(.*(zero point|scale)"):
        read(changed(int8, lambda root: quantization(root, **values)))


def test_a_convolution_without_weights_is_refused(floating: bytes) -> None:
    def drop_weights(root: Any) -> None:
        for operator in root.subgraphs[0].operators:
            operator.inputs = operator.inputs[:1]

    with pytest.raises(ModelError, match=r"\(CONV_2D .*weights\)"):
        read(changed(floating, drop_weights))


def test_a_product_of_two_inputs_has_macs_though_it_has_no_kernel() -> None:
    content = converted(tf.matmul, tf.TensorSpec((3, 4, 5)), tf.TensorSpec((3, 5, 2)))
    (product,) = (op for op in read(content).operators if op.name == "BATCH_MATMUL")
    assert product.kernel is None
    assert product.macs == 3 * 4 * 5 * 2


def test_a_side_that_may_change_is_dynamic() -> None:
    content = converted(lambda x: x + 1.0, tf.TensorSpec((None, 4)))
    assert read(content).inputs[0].is_dynamic
    assert not read(converted(lambda x: x + 1.0, tf.TensorSpec((2, 4)))).inputs[0].is_dynamic


def test_scales_lie_along_the_channels_of_a_kernel(int8: bytes) -> None:
    for op in read(int8).operators:
        if op.kernel is not None:
            assert op.kernel.scales.shape == (op.kernel.shape[op.kernel.axis],)
            assert not op.kernel.zero_points.any()


def test_an_error_of_a_file_names_it(tmp_path: Path, int8: bytes) -> None:
    (path := tmp_path / "half.tflite").write_bytes(int8[: len(int8) // 2])
    with pytest.raises(ModelError, match=r"half\.tflite: "):
        load(path)
    path.write_bytes(int8)
    content, graph = load(path)
    assert content == int8
    assert [op.name for op in graph.operators] == [op.name for op in read(int8).operators]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.tflite"):
        load(tmp_path / "none.tflite")


def test_values_of_two_and_four_bits_are_unpacked() -> None:
    assert unpacked(bytes([0b11100100]), 4, 2).tolist() == [0, 1, -2, -1]
    assert unpacked(bytes([0x7F, 0x08]), 3, 4).tolist() == [-1, 7, -8]
    assert unpacked(bytes([0x7F]), 2, 4, unsigned=True).tolist() == [15, 7]
    with pytest.raises(ValueError, match="1 bytes for 5 values of 2 bits"):
        unpacked(bytes([0]), 5, 2)
