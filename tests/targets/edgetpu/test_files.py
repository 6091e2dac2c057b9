"""Which files the Edge TPU compiler refuses as a whole, and what it is warned of."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.targets.edgetpu import files
from pipeline.tflite.read import Graph, Operator, Tensor


def tensor(shape: tuple[int, ...], dtype: str = "INT8", scales: int = 1, **more: Any) -> Tensor:
    ones = np.ones(scales, np.float32)
    return Tensor("image", dtype, shape, more.pop("data", None), ones, np.zeros(scales), **more)


def kernel(*shape: int, scales: int = 1) -> Tensor:
    return tensor(shape, scales=scales, data=np.zeros(shape, np.int8))


def convolution(version: int = 3, image: Tensor = tensor((1, 8, 8, 4))) -> Operator:  # noqa: B008
    read = (image, kernel(4, 3, 3, 4, scales=4))
    return Operator(0, "CONV_2D", read, (tensor((1, 8, 8, 4)),), version)


def graph(*operators: Operator, needs: str = "2.5.0") -> Graph:
    metadata = {"min_runtime_version": needs.encode().ljust(16, b"\0")}
    return Graph(operators, operators[0].inputs[:1], operators[-1].outputs, metadata)


def test_a_quantized_network_is_taken() -> None:
    assert files.refusal(graph(convolution())) is None


@pytest.mark.parametrize(
    ("name", "version"), [("CONV_2D", 6), ("TRANSPOSE_CONV", 4), ("QUANTIZE", 3), ("EXP", 2)]
)
def test_an_operator_of_a_version_after_the_compiler_is_refused(name: str, version: int) -> None:
    newest = replace(convolution(version - 1), name=name)
    assert files.refusal(graph(newest, convolution())) is None
    refused = files.refusal(graph(replace(newest, version=version), convolution()))
    assert refused == f"{name} 0 has version {version}. The compiler knows {version - 1}"


def test_an_operator_that_needs_a_later_tensorflow_is_refused() -> None:
    refused = files.refusal(graph(convolution(), needs="2.9.0"))
    assert refused == "an operator needs TensorFlow 2.9.0. The compiler knows 2.5.0"
    assert files.refusal(graph(convolution(), needs="1.15.0")) is None


def test_a_file_without_a_note_of_tensorflow_is_taken() -> None:
    assert files.refusal(graph(convolution(), needs="")) is None
    assert files.refusal(replace(graph(convolution()), metadata={})) is None


def test_versions_say_nothing_in_a_file_where_all_are_one() -> None:
    assert files.refusal(graph(convolution(version=1), needs="2.9.0")) is None


def test_a_grouped_convolution_is_refused_whatever_its_version() -> None:
    grouped = replace(convolution(version=1), inputs=(tensor((1, 8, 8, 8)), kernel(4, 3, 3, 4)))
    assert "grouped convolution" in str(files.refusal(graph(grouped)))


def test_a_tensor_without_a_fixed_shape_is_refused() -> None:
    image = tensor((1, 8, 8, 4), is_dynamic=True)
    assert "'image' has no fixed shape" in str(files.refusal(graph(convolution(image=image))))


def test_a_float_file_is_refused() -> None:
    image = tensor((1, 8, 8, 4), "FLOAT32")
    operator = replace(convolution(version=1), inputs=(image, kernel(4, 3, 3, 4)), outputs=(image,))
    assert "not quantized" in str(files.refusal(graph(operator)))


@pytest.mark.parametrize(("scales", "refused"), [(1, False), (8, True)])
def test_dense_weights_quantized_per_channel_are_refused(scales: int, refused: bool) -> None:
    read = (tensor((1, 4)), kernel(8, 4, scales=scales))
    dense = Operator(0, "FULLY_CONNECTED", read, (tensor((1, 8)),), 4)
    assert ("per channel" in str(files.refusal(graph(dense)))) == refused


def warned(name: str, shape: tuple[int, ...], out: tuple[int, ...] = (1, 4)) -> list[str]:
    operator = Operator(7, name, (tensor(shape),), (tensor(out),), 1, SimpleNamespace())
    return files.warnings([operator, operator])


def test_a_mean_over_very_many_places_is_warned_of_once() -> None:
    assert warned("MEAN", (1, 128, 128, 3)) == []
    (warning,) = warned("MEAN", (1, 256, 128, 3))
    assert warning.startswith("MEAN 7 [1, 256, 128, 3]: ")


def test_activations_larger_than_the_chip_are_warned_of() -> None:
    assert warned("ADD", (1, 512, 512, 16)) == []
    assert "large activations" in warned("ADD", (1, 512, 512, 32))[0]


def test_operators_that_are_not_always_mapped_are_warned_of() -> None:
    assert warned("RESHAPE", (1, 4, 4, 8), (1, 128)) == []
    assert "RESHAPE 7" in warned("RESHAPE", (1, 4, 4, 8), (1, 16, 8))[0]
    assert "RESIZE_BILINEAR 7" in warned("RESIZE_BILINEAR", (1, 4, 4, 8))[0]
    assert "documentation" in warned("TILE", (1, 4))[0]
