"""The quantize stage: 8 bits, 4 bits for weights, 16 bits for activations; what LiteRT computes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from pydantic import ValidationError
from support.chain import run, saved, trained

from pipeline import targets
from pipeline.artifact import Artifact
from pipeline.data.datasets import Dataset
from pipeline.errors import ModelError
from pipeline.measure import ledger, metrics
from pipeline.stages.quantize import Config, ladder
from pipeline.tflite import read as file
from pipeline.tflite.classifier import Runner
from pipeline.tflite.read import Graph, Tensor, read

Run = Callable[..., Artifact]
KERNELS = ("stem", "depthwise", "conv", "dense")


def network(shape: tuple[int, ...]) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape)
    x = layers.Rescaling(1 / 128, offset=-1.0)(inputs)
    x = layers.Conv2D(8, 3, strides=4, use_bias=False, name="stem")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.5)(x))
    x = layers.DepthwiseConv2D(3, activation="relu", name="depthwise")(x)
    x = layers.Conv2D(16, 3, activation="relu", name="conv")(x)
    x = layers.Dense(10, name="dense")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Softmax()(x))


@pytest.fixture(scope="module")
def source(few_digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A network with a normalization, a depthwise and a dense layer, trained for seconds."""
    model = trained(network(few_digits.image_shape), few_digits, epochs=6)
    return saved(model, tmp_path_factory.mktemp("float"))


@pytest.fixture(scope="module")
def quantized(
    source: Artifact, few_digits: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Artifact]:
    """Quantize to a precision, once each."""
    made: dict[str, Artifact] = {}

    def quantized(precision: str) -> Artifact:
        if precision not in made:
            place = tmp_path_factory.mktemp(precision)
            method = "auto" if precision == "int16x8" else "qat"
            settings = {"precision": precision, "method": method, "epochs": 2, "low_bits": "all"}
            made[precision] = run("quantize", source, few_digits, place, **settings)
        return made[precision]

    return quantized


def graph(made: Artifact) -> Graph:
    return read(content(made))


def numbers(made: Artifact) -> dict[str, float]:
    return metrics.tflite_numbers(graph(made), ledger.of_tflite(graph(made)))


def content(made: Artifact) -> bytes:
    assert made.model_path is not None
    return made.model_path.read_bytes()


def dtypes(made: Artifact) -> list[str]:
    return [kernel.dtype for kernel in graph(made).kernels]


def scores(source: Artifact, images: np.ndarray) -> np.ndarray:
    model = keras.models.load_model(source.model_path, compile=False)
    return np.asarray(model(images.astype(np.float32), training=False))


# weights of 4 bits


@pytest.mark.slow
def test_weights_of_convolutions_and_dense_layers_have_4_bits(
    quantized: Callable[[str], Artifact],
) -> None:
    made = quantized("int4")
    assert dtypes(made) == ["INT4", "INT8", "INT4", "INT4"]
    assert graph(made).inputs[0].dtype == graph(made).outputs[0].dtype == "UINT8"
    assert not graph(made).float_operators
    rows = {row["layer"]: row["reason"] for row in made.details.layers}
    assert rows["depthwise"] == "weights of 8 bits"
    assert rows["conv"] is None


def test_their_values_are_counted_two_a_byte(quantized: Callable[[str], Artifact]) -> None:
    made, whole = quantized("int4"), quantized("int8")
    for kernel, wide in zip(graph(made).kernels, graph(whole).kernels, strict=True):
        assert kernel.data is not None
        assert kernel.data.shape == wide.data.shape  # type: ignore[union-attr]
        if kernel.dtype == "INT4":
            assert kernel.bytes == -(-wide.bytes // 2)
            assert abs(kernel.data).max() == 7
    rows = ledger.of_tflite(graph(made))
    assert [row["dtypes"]["kernel"] for row in rows] == ["int4", "int8", "int4", "int4"]
    assert all(row["distinct"] <= 15 for row in rows if row["dtypes"]["kernel"] == "int4")
    assert numbers(made) | {"sparsity": 0, "nonzero_params": 0} == (
        numbers(whole) | {"sparsity": 0, "nonzero_params": 0, "distinct_weights": 15}
    )
    assert len(content(made)) < len(content(whole))


def test_litert_computes_what_training_with_4_bits_simulated(
    quantized: Callable[[str], Artifact], source: Artifact, few_digits: Dataset
) -> None:
    made = quantized("int4")
    assert made.details.parity["compared_with"] == "simulation"
    assert made.details.parity["worst_difference"] < 0.03
    images = few_digits.test.images[few_digits.test.index]
    found = Runner(content(made)).scores(images)
    expected = scores(source, images)
    assert np.mean(np.argmax(found, -1) == np.argmax(expected, -1)) > 0.8
    assert np.mean(np.abs(found - expected)) < 0.1


def test_a_file_with_4_bits_runs_on_a_phone(quantized: Callable[[str], Artifact]) -> None:
    verdict = targets.check("mobile_cpu", content(quantized("int4")))
    assert verdict.runs
    assert {kind: found["operators"] for kind, found in verdict.weights.items()} == {
        "INT4": 3,
        "INT8": 1,
    }


def test_an_odd_number_of_values_has_half_a_byte_left() -> None:
    assert file._unpacked(bytes([0x21, 0x0F]), 3, 4).tolist() == [1, 2, -1]
    with pytest.raises(ValueError, match="2 bytes for 5 values"):
        file._unpacked(bytes([0x21, 0x0F]), 5, 4)
    one = Tensor("", "INT4", (3,), None, np.array([]), np.array([]))
    assert one.bytes == 2


# activations of 16 bits


@pytest.mark.slow
def test_activations_have_16_bits_and_weights_8(quantized: Callable[[str], Artifact]) -> None:
    made = quantized("int16x8")
    assert set(dtypes(made)) == {"INT8"}
    operators = graph(made).operators
    assert (operators[0].name, operators[-1].name) == ("QUANTIZE", "DEQUANTIZE")
    assert {t.dtype for op in operators[1:-1] for t in op.outputs} == {"INT16"}
    assert graph(made).inputs[0].dtype == graph(made).outputs[0].dtype == "FLOAT32"
    assert made.details.method == "ptq"
    assert "16 bits" in made.details.refused["qat"]


def test_litert_computes_with_16_bits_what_keras_does(
    quantized: Callable[[str], Artifact], source: Artifact, few_digits: Dataset
) -> None:
    made = quantized("int16x8")
    images = few_digits.test.images[few_digits.test.index]
    found = Runner(content(made)).scores(images)
    assert np.max(np.abs(found - scores(source, images))) < 0.03
    assert made.details.parity["compared_with"] == "float"
    assert made.details.parity["first_parting"] is None


@pytest.mark.slow
def test_16_bits_are_finer_than_8(source: Artifact, few_digits: Dataset, tmp_path: Path) -> None:
    images = few_digits.test.images[few_digits.test.index]
    expected, differences = scores(source, images), {}
    for precision in ("int8", "int16x8"):
        settings = {"precision": precision, "method": "ptq"}
        made = run("quantize", source, few_digits, tmp_path, **settings)
        found = Runner(content(made)).scores(images)
        differences[precision] = np.mean(np.abs(found - expected))
    assert differences["int16x8"] < differences["int8"]


def test_a_phone_runs_16_bits_and_is_told_that_they_are_slow(
    quantized: Callable[[str], Artifact],
) -> None:
    verdict = targets.check("mobile_cpu", content(quantized("int16x8")))
    assert verdict.runs
    assert not verdict.mapped


def test_16_bits_for_a_clustered_network_are_refused(
    source: Artifact, few_digits: Dataset, tmp_path: Path
) -> None:
    clustered = run("cluster", source, few_digits, tmp_path, clusters=8, epochs=1)
    with pytest.raises(ModelError, match=r"undo the clustering.*quantize.precision=int16x8"):
        run("quantize", clustered, few_digits, tmp_path, precision="int16x8")


# on to the phone


@pytest.mark.parametrize(("precision", "dtype"), [("int4", "UINT8"), ("int16x8", "FLOAT32")])
def test_export_passes_the_file_on(
    precision: str,
    dtype: str,
    quantized: Callable[[str], Artifact],
    few_digits: Dataset,
    tmp_path: Path,
) -> None:
    source = quantized(precision)
    made = run("export", source, few_digits, tmp_path, demo=False)
    graphs = [graph(one) for one in (made, source)]
    for one, other in zip(graphs[0].kernels, graphs[1].kernels, strict=True):
        np.testing.assert_array_equal(one.data, other.data)
        assert one.dtype == other.dtype
    assert graphs[0].inputs[0].dtype == dtype
    images = few_digits.test.images[few_digits.test.index[:8]]
    found, expected = (Runner(content(one)).scores(images) for one in (made, source))
    np.testing.assert_array_equal(found, expected)
    assert f"quantize.precision={precision}" in made.details.left_out["model_edgetpu.tflite"]


def test_phones_have_no_fast_kernels_for_convolutions_of_4_bits(
    quantized: Callable[[str], Artifact],
) -> None:
    found = targets.check("mobile_cpu", content(quantized("int4"))).operators
    reasons = [op.reason for op in found if op.name == "CONV_2D"]
    assert reasons
    assert all("INT4 in FULLY_CONNECTED only, and this CONV_2D" in why for why in reasons)


@pytest.mark.parametrize("precision", ["int4", "int16x8"])
def test_the_edge_tpu_takes_neither(precision: str, quantized: Callable[[str], Artifact]) -> None:
    verdict = targets.check("edgetpu", content(quantized(precision)))
    assert not verdict.runs or verdict.mapped == 0


# settings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"precision": "int4", "method": "ptq"}, "int4 needs method qat: so few bits.*method=ptq"),
        ({"precision": "int16x8", "method": "qat"}, "int16x8 needs method ptq.*method=qat"),
    ],
)
def test_a_precision_that_a_method_does_not_have_is_refused(
    settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        Config(**settings)


def test_settings_that_tfmot_does_not_train_with_are_refused() -> None:
    given = {"engine": "tfmot", "optimizer": "nesterov", "distill": True}
    with pytest.raises(ValidationError, match=r"Adam.*optimizer=nesterov, distill=True.*leave eng"):
        Config(**given)
    Config(engine="tfmot", flip=True, batch_size=8)


@pytest.mark.parametrize("precision", ["bnn", "xnor", "dorefa"])
def test_methods_whose_activations_no_runtime_has_say_what_to_use(precision: str) -> None:
    with pytest.raises(ValidationError, match=rf"{precision} needs activations.*Take binary"):
        Config(precision=precision)


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    [
        {"optimizer": "nesterov", "schedule": "constant", "learning_rate": 0.01},
        {"ema": 0.5},
        {"distill": True},
        {"augmentation": "light", "label_smoothing": 0.1},
        {"patience": 1, "learning_rate": 1e-9},
    ],
    ids=lambda given: next(iter(given)),
)
def test_every_setting_of_training_holds_in_int8(
    given: dict[str, Any], source: Artifact, few_digits: Dataset, tmp_path: Path
) -> None:
    usual = {"method": "qat", "epochs": 3, "learning_rate": 1e-3}
    plain = run("quantize", source, few_digits, tmp_path / "plain", **usual)
    made = run("quantize", source, few_digits, tmp_path / "given", **{**usual, **given})
    assert content(made) != content(plain)
    curves = made.details.history
    assert np.all(np.isfinite(curves["train/loss"]))
    assert curves["val/loss"] != plain.details.history["val/loss"]
    if "patience" in given:
        assert len(made.details.history["val/loss"]) < 3


def test_8_bits_are_milder_than_4() -> None:
    steps = ladder(Config(precision="int4", epochs=4))
    assert [(one.precision, one.epochs) for one in steps.rungs] == [  # type: ignore[attr-defined]
        *(("int8", 8), ("int8", 4)),
        *(("int4", 8), ("int4", 4)),
    ]
    assert steps.start == 3
    assert len(ladder(Config(precision="int16x8")).rungs) == 1


# the chain


@pytest.mark.slow
def test_zeros_and_clusters_stay_in_weights_of_4_bits(
    source: Artifact, few_digits: Dataset, tmp_path: Path
) -> None:
    pruned = run("prune", source, few_digits, tmp_path, sparsity=0.5, epochs=2)
    clustered = run("cluster", pruned, few_digits, tmp_path, clusters=8, epochs=1)
    made = run(
        "quantize", clustered, few_digits, tmp_path, precision="int4", epochs=1, low_bits="all"
    )
    model = keras.models.load_model(clustered.model_path, compile=False)
    rows = {row["layer"]: row for row in ledger.of_keras(model)}
    found = ledger.named(ledger.of_tflite(graph(made)), list(rows.values()))
    assert [row["layer"] for row in found] == list(KERNELS)
    for row in found:
        assert row["sparsity"] >= rows[row["layer"]]["sparsity"]
        assert row["layer"] == "depthwise" or row["sizes"] <= rows[row["layer"]]["distinct"]


@pytest.mark.slow
def test_zeros_stay_with_activations_of_16_bits(
    source: Artifact, few_digits: Dataset, tmp_path: Path
) -> None:
    pruned = run("prune", source, few_digits, tmp_path, sparsity=0.5, epochs=2)
    made = run("quantize", pruned, few_digits, tmp_path, precision="int16x8")
    model = keras.models.load_model(pruned.model_path, compile=False)
    rows = {row["layer"]: row for row in ledger.of_keras(model)}
    found = ledger.named(ledger.of_tflite(graph(made)), list(rows.values()))
    assert all(row["sparsity"] >= rows[row["layer"]]["sparsity"] for row in found)
    assert sum(row["sparsity"] > 0.3 for row in found) >= 2


# a file of each precision


@pytest.mark.slow
def test_progressive_training_leaves_a_file_of_each_precision_and_says_what_it_scores(
    source: Artifact, few_digits: Dataset, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"precision": "ternary", "progressive": True, "epochs": 1}
    made = run("quantize", source, few_digits, tmp_path, **settings)
    left = {path.name for path in made.directory.iterdir()}
    assert {"model.tflite", "model_int8.tflite", "model_int4.tflite"} <= left
    assert not [name for name in left if "checkpoint" in name]
    assert made.details.note is not None
    size = (made.directory / "model_int4.tflite").stat().st_size
    assert f"in {size:,} bytes" in made.details.note
    assert f"ternary {made.metrics['val_accuracy']:.2%}" in made.details.note


def test_progressive_training_needs_few_bits_to_lead_to() -> None:
    with pytest.raises(ValidationError, match=r"leads to few bits.*precision=int8"):
        Config(progressive=True)
    with pytest.raises(ValidationError, match=r"rule=connect"):
        Config(precision="binary", rule="connect", progressive=True)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["ternary", "binary"])
def test_the_file_has_two_bits_for_ternary_and_binary_weights_of_dense_layers(
    precision: str, source: Artifact, few_digits: Dataset, tmp_path: Path
) -> None:
    made = run("quantize", source, few_digits, tmp_path, precision=precision, epochs=1)
    kernels = {kernel.dtype: kernel for kernel in graph(made).kernels}
    assert dtypes(made) == ["INT8", "INT8", "INT8", "INT2"]  # only the last is a dense layer
    values = {-1, 0, 1} if precision == "ternary" else {-1, 1}
    assert set(np.unique(kernels["INT2"].data)) <= values
    assert kernels["INT2"].scales.size == 10  # one for each class


def test_an_exempt_layer_has_8_bits_whatever_is_fused_with_it(
    source: Artifact, few_digits: Dataset, tmp_path: Path
) -> None:
    settings = {"precision": "ternary", "low_bits": "all", "epochs": 1, "exempt": "stem"}
    made = run("quantize", source, few_digits, tmp_path, **settings)
    counts = [len(np.unique(kernel.data)) for kernel in graph(made).kernels]
    assert counts[0] > 3
    assert {*counts[1:]} & {2, 3}


@pytest.mark.slow
def test_the_first_and_the_last_kernel_can_keep_8_bits(
    source: Artifact, few_digits: Dataset, tmp_path: Path
) -> None:
    settings = {"precision": "ternary", "low_bits": "all", "epochs": 1, "whole_ends": True}
    made = run("quantize", source, few_digits, tmp_path, **settings)
    counts = [len(np.unique(kernel.data)) for kernel in graph(made).kernels]
    assert [count > 3 for count in counts] == [True, True, False, True]  # depthwise has 8 anyway


def test_an_unknown_exempt_layer_is_refused(
    source: Artifact, few_digits: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"quantize.exempt.*Received: stern.*Known: stem"):
        run("quantize", source, few_digits, tmp_path, exempt="stern")
