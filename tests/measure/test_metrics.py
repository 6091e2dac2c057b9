"""The compared numbers, on networks small enough to count by hand."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.artifact import Artifact
from pipeline.compress.rows import kernel_row, kernel_rows
from pipeline.data.datasets import Dataset, Split
from pipeline.details import Details
from pipeline.measure import ledger, metrics
from pipeline.measure.metrics import measure
from pipeline.tflite import convert
from pipeline.tflite.read import read

# kernel [2, 2, 1, 2]: 8 weights, 5 of them zero, 3 distinct
CONV = np.array([0, 1, 0, 2, 0, 0, 1, 0], np.float32).reshape(2, 2, 1, 2)
# kernel [2, 3]: 6 weights, 1 zero, 5 distinct
DENSE = np.array([[0, 3, 3], [4, 5, 6]], np.float32)


@pytest.fixture(scope="module")
def counted() -> keras.Model:
    """Two kernels and a depthwise one; biases 1, 2; 9, 9; 0, 7, 8; 4 x 4 pixels."""
    inputs = keras.Input((4, 4, 1))
    conv, dense = layers.Conv2D(2, 2, 2, name="conv"), layers.Dense(3, name="dense")
    depthwise = layers.DepthwiseConv2D(2, name="depthwise")
    model = keras.Model(inputs, dense(layers.Flatten()(depthwise(conv(inputs)))))
    conv.set_weights([CONV, np.array([1, 2], np.float32)])
    dense.set_weights([DENSE, np.array([0, 7, 8], np.float32)])
    kernel = np.array([0, 0, 1, 2, 3, 4, 5, 6], np.float32).reshape(2, 2, 2, 1)
    depthwise.set_weights([kernel, np.array([9, 9], np.float32)])
    return model


EXPECTED = {
    "params": 8 + 2 + 8 + 2 + 6 + 3,
    "nonzero_params": 3 + 2 + 6 + 2 + 5 + 2,
    "sparsity": (5 + 1) / (8 + 6),  # the depthwise kernel is left out
    "distinct_weights": 5,
    "macs": 8 * 2 * 2 + 8 + 6,
    "flops": 2 * (8 * 2 * 2 + 8 + 6),
}


def test_a_keras_model_has_the_numbers_counted_by_hand(counted: keras.Model) -> None:
    assert metrics.keras_numbers(counted, ledger.of_keras(counted)) == pytest.approx(EXPECTED)


def test_a_tflite_file_has_the_same_numbers(counted: keras.Model) -> None:
    graph = read(convert.convert_float(counted))
    assert metrics.tflite_numbers(graph, ledger.of_tflite(graph)) == pytest.approx(EXPECTED)


def test_moving_statistics_are_parameters_that_are_not_zero() -> None:
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, layers.BatchNormalization()(inputs))
    numbers = metrics.keras_numbers(model, ledger.of_keras(model))
    # gamma 1, beta 0, mean 0, variance 1 of three channels: only beta counts as zero
    assert (numbers["params"], numbers["nonzero_params"]) == (12, 9)


def test_a_model_without_kernels_is_neither_sparse_nor_clustered() -> None:
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, layers.Flatten()(inputs))
    numbers = metrics.keras_numbers(model, ledger.of_keras(model))
    assert (numbers["sparsity"], numbers["distinct_weights"], numbers["macs"]) == (0.0, 0, 0)


def test_a_row_per_kernel_says_what_it_holds(counted: keras.Model) -> None:
    rows = kernel_rows(counted)
    assert {row["layer"]: (row["sparsity"], row["distinct"]) for row in rows} == {
        "conv": (5 / 8, 3),
        "depthwise": (2 / 8, 7),
        "dense": (pytest.approx(1 / 6), 5),
    }


def test_a_kernel_with_a_reason_was_skipped(counted: keras.Model) -> None:
    conv = counted.get_layer("conv")
    for reason, treatment in ((None, "pruned"), ("too small", "skipped")):
        row = kernel_row("conv", conv, conv.kernel, "pruned", reason)
        assert (row["kind"], row["treatment"], row["reason"]) == ("Conv2D", treatment, reason)


# a trained model in its artifact


@pytest.fixture(scope="module")
def bright() -> keras.Model:
    """Says 1 for images that are brighter than 128, and 0 for others."""
    inputs = keras.Input((4, 4, 1))
    dense = layers.Dense(2)
    model = keras.Model(inputs, layers.Softmax()(dense(layers.GlobalAveragePooling2D()(inputs))))
    dense.set_weights([np.array([[-1.0, 1.0]]), np.array([128.0, -128.0])])
    return model


@pytest.fixture(scope="module")
def labelled() -> Dataset:
    """Black and white images; of the test part, one of four black ones is labelled as white."""
    labels = np.array([0, 1] * 4, np.int32)
    images = np.broadcast_to((255 * labels).astype(np.uint8)[:, None, None, None], (8, 4, 4, 1))
    val = Split(images, labels, np.arange(8))
    test = Split(images, np.where(np.arange(8) == 2, 1, labels), np.arange(8))
    return Dataset("bright", ("black", "white", "red"), val, val, test, fingerprint="")


@pytest.fixture(scope="module", params=["model.keras", "model.tflite"])
def measured(
    request: pytest.FixtureRequest,
    bright: keras.Model,
    labelled: Dataset,
    tmp_path_factory: pytest.TempPathFactory,
) -> Artifact:
    place = tmp_path_factory.mktemp("artifact")
    bright.save(place / "model.keras")
    (place / "model.tflite").write_bytes(convert.convert_float(bright))
    return measure(artifact(place, request.param), labelled)


def artifact(place: Path, file: str | None) -> Artifact:
    return Artifact(stage="any", fingerprint="", model_file=file, directory=place)


def test_accuracy_is_the_share_of_images_whose_label_scores_highest(
    measured: Artifact,
) -> None:
    metrics = measured.metrics
    assert (metrics["val_accuracy"], metrics["test_accuracy"]) == (1.0, 7 / 8)


def test_what_the_guardrail_has_measured_is_not_measured_again(
    bright: keras.Model, labelled: Dataset, tmp_path: Path
) -> None:
    bright.save(tmp_path / "model.keras")
    known = artifact(tmp_path, "model.keras").model_copy(update={"metrics": {"val_accuracy": 0.5}})
    metrics = measure(known, labelled).metrics
    assert (metrics["val_accuracy"], metrics["test_accuracy"]) == (0.5, 7 / 8)


def row(name: str, recall: Any, images: int, precision: Any, f1: Any) -> dict[str, Any]:
    numbers = {"test_accuracy": recall, "test_images": images, "precision": precision, "f1": f1}
    return {"class": name, **numbers}


def test_every_class_has_its_own_accuracy_and_an_absent_one_has_none(
    measured: Artifact,
) -> None:
    assert measured.details.per_class == [
        row("black", 1.0, 3, 3 / 4, 6 / 7),
        row("white", 4 / 5, 5, 1.0, 8 / 9),
        row("red", None, 0, None, None),
    ]


def test_size_is_that_of_the_tflite_file(measured: Artifact, bright: keras.Model) -> None:
    metrics = measured.metrics
    assert metrics["size_bytes"] == pytest.approx(len(convert.convert_float(bright)), abs=64)
    assert 0 < metrics["gzip_bytes"] < metrics["size_bytes"]


def test_every_number_has_a_plain_value(
    measured: Artifact,
) -> None:
    metrics = measured.metrics
    assert metrics["latency_ms"] > 0
    assert set(EXPECTED) < set(metrics)
    assert {type(value) for value in metrics.values()} <= {int, float}


def test_an_artifact_without_a_model_has_no_numbers(labelled: Dataset, tmp_path: Path) -> None:
    measured = measure(artifact(tmp_path, None), labelled)
    assert (measured.metrics, measured.details) == ({}, Details())


# file size


def test_gzip_takes_the_same_bytes_every_time() -> None:
    content = np.random.default_rng(0).bytes(5000)
    assert metrics.gzip_bytes(content) == metrics.gzip_bytes(bytes(content))


def test_few_distinct_bytes_take_fewer_bytes() -> None:
    rng = np.random.default_rng(0)
    clustered = rng.choice(np.array([0, 17, 99], np.uint8), 5000).tobytes()
    assert metrics.gzip_bytes(clustered) < 0.4 * metrics.gzip_bytes(rng.bytes(5000))
