"""Keras models become `.tflite` files that compute the same; what cannot is refused by name."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support.small import SHAPE, classifier, network

from pipeline.errors import ModelError
from pipeline.tflite import convert
from pipeline.tflite.classifier import Runner
from pipeline.tflite.read import read


def test_a_float_file_computes_what_keras_does(
    model: keras.Model, floating: bytes, images: np.ndarray
) -> None:
    expected = np.asarray(model(images.astype(np.float32), training=False))
    np.testing.assert_allclose(Runner(floating).scores(images), expected, atol=1e-5)


def test_the_weights_are_frozen_into_a_float_file(floating: bytes) -> None:
    graph = read(floating)
    assert [op.name for op in graph.operators if "VAR" in op.name] == []
    assert [kernel.dtype for kernel in graph.kernels] == ["FLOAT32"] * 3


def test_an_int8_file_computes_nearly_what_keras_does(
    model: keras.Model, int8: bytes, images: np.ndarray
) -> None:
    expected = np.asarray(model(images.astype(np.float32), training=False))
    np.testing.assert_allclose(Runner(int8).scores(images), expected, atol=0.03)


def test_an_int8_file_has_no_float_operator_and_uint8_ends(int8: bytes) -> None:
    graph = read(int8)
    assert graph.float_operators == ()
    assert [t.dtype for t in (*graph.inputs, *graph.outputs)] == ["UINT8", "UINT8"]


@pytest.fixture(scope="module")
def for_edge_tpu(
    model: keras.Model, images: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> bytes:
    place = tmp_path_factory.mktemp("edge")
    convert.save_float(model, place)
    ranges = images.astype(np.float32)
    return convert.convert_int8(place, ranges, io="int8", per_channel_dense=False)


@pytest.mark.slow
def test_an_int8_file_has_int8_ends_if_asked_to(
    for_edge_tpu: bytes, int8: bytes, images: np.ndarray
) -> None:
    graph = read(for_edge_tpu)
    assert [t.dtype for t in (*graph.inputs, *graph.outputs)] == ["INT8", "INT8"]
    scores, expected = (Runner(x).scores(images) for x in (for_edge_tpu, int8))
    np.testing.assert_allclose(scores, expected, atol=2 / 256)


def test_a_dense_layer_has_one_scale_if_asked_to_and_a_convolution_one_per_channel(
    for_edge_tpu: bytes, int8: bytes
) -> None:
    scales = [
        {op.name: op.kernel.scales.size for op in read(x).operators if op.kernel is not None}
        for x in (for_edge_tpu, int8)
    ]
    assert scales[0] == {"CONV_2D": 4, "DEPTHWISE_CONV_2D": 4, "FULLY_CONNECTED": 1}
    assert scales[1] == {"CONV_2D": 4, "DEPTHWISE_CONV_2D": 4, "FULLY_CONNECTED": 3}


def test_an_operator_that_cannot_be_int8_is_an_error_that_names_it(tmp_path: Path) -> None:
    convert.save_float(network(lambda x: classifier(keras.ops.sin(x))), tmp_path)
    with pytest.raises(ModelError, match=r"Received: SIN$"):
        convert.convert_int8(tmp_path, np.ones((2, *SHAPE), np.float32))


def test_quantizing_without_files_gives_the_same_file_without_its_signature(
    model: keras.Model, int8: bytes, images: np.ndarray
) -> None:
    direct = convert.ptq(model, images.astype(np.float32))
    assert len(direct) + convert.SIGNATURE_BYTES == len(int8)
    scores, expected = (Runner(content).scores(images) for content in (direct, int8))
    np.testing.assert_array_equal(scores, expected)


def test_quantizing_without_files_names_an_operator_that_cannot_be_int8() -> None:
    body = network(lambda x: classifier(keras.ops.sin(x)))
    with pytest.raises(ModelError, match=r"Received: SIN$"):
        convert.ptq(body, np.ones((2, *SHAPE), np.float32))


@pytest.mark.parametrize(
    "convert", [convert.convert_float, lambda m: convert.ptq(m, np.ones((2, *SHAPE), np.float32))]
)
def test_what_the_converter_refuses_is_an_error_of_one_line_that_names_it(convert: Any) -> None:
    unknown = network(lambda x: classifier(keras.ops.erfinv(x)))
    with pytest.raises(ModelError, match=r"Received: Erfinv\.") as caught:
        convert(unknown)
    assert "\n" not in str(caught.value)


def test_a_file_has_a_batch_of_one(content: bytes) -> None:
    graph = read(content)
    assert (graph.inputs[0].shape, graph.outputs[0].shape) == ((1, *SHAPE), (1, 3))


def test_bytes_are_pixels_whatever_images_ranges_are_measured_with() -> None:
    """Dark images would otherwise give the input a scale below 1."""
    dark = np.random.default_rng(0).integers(20, 200, (4, *SHAPE), np.uint8)
    content = convert.ptq(network(classifier), dark)
    given = read(content).inputs[0]
    assert (given.dtype, given.scales[0], given.zero_points[0]) == ("UINT8", 1.0, 0)
