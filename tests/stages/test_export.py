"""What goes out: every file of the bundle is right, and tells the truth of the others."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from support.context import make_context

from pipeline import artifact, runner, stage
from pipeline.artifact import Artifact
from pipeline.budget import Budget
from pipeline.data.datasets import Dataset, Split
from pipeline.errors import ModelError, ToolError
from pipeline.export import bundle
from pipeline.measure import ledger
from pipeline.recipe import Step
from pipeline.stage import Context
from pipeline.targets.browser import page
from pipeline.tflite import convert, metadata
from pipeline.tflite.classifier import Runner
from pipeline.tflite.read import read

SHAPE = (12, 12, 3)
CLASSES = ("red", "green", "blue")
MODELS = {bundle.MODEL, bundle.EDGETPU, bundle.FLOAT}
FILES = {*MODELS, "labels.txt", bundle.GOLDEN, bundle.CARD, bundle.MANIFEST}
Export = Callable[..., Artifact]


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Pictures of one colour, with noise."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(120) % 3).astype(np.int32)
    images = rng.integers(0, 80, (120, *SHAPE))
    images[np.arange(120), :, :, labels] += 120
    images[:, 0, 0], images[:, 0, 1] = 0, 255
    spans = {"train": (0, 60), "val": (60, 96), "test": (96, 120)}
    parts = {
        name: Split(images.astype(np.uint8), labels[a:b], np.arange(a, b))
        for name, (a, b) in spans.items()
    }
    return Dataset("colours", CLASSES, **parts, fingerprint="colours")


def network() -> keras.Model:
    """Two kernels of one size, which the file has in another order than Keras.

    That of `right` is half zeros; the mean of each colour, and so the class, comes out.
    """
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 255)(inputs)
    left = layers.Conv2D(3, 3, padding="same", name="left")(layers.ReLU()(layers.ReLU()(x)))
    right = layers.Conv2D(3, 3, padding="same", name="right")(x)
    right = layers.MaxPooling2D(1)(layers.AveragePooling2D(1)(right))
    x = layers.GlobalAveragePooling2D()(layers.Add()([left, right]))
    model = keras.Model(inputs, layers.Softmax()(layers.Dense(3, name="logits")(x)))
    for name, zeros in (("left", 0.0), ("right", 0.5)):
        kernel = np.array(model.get_layer(name).kernel) / 4
        kernel[1, 1] += np.eye(3)
        kernel[np.random.default_rng(1).random(kernel.shape) < zeros] = 0
        model.get_layer(name).kernel.assign(kernel)
    model.get_layer("logits").kernel.assign(4 * np.eye(3))
    return model


def context(place: Path, name: str, data: Dataset, names: tuple[str, ...] = ()) -> Context:
    return make_context(
        place / name,
        data,
        budget=Budget(flops="1M"),
        targets=names,
        recipe_name="colours",
        description="Tells colours apart",
    )


def run(name: str, source: Artifact, ctx: Context, **settings: Any) -> Artifact:
    """Run a stage as the loop does: measured, checked, and its artifact written."""
    step = Step(name, stage.load(name).Config(**settings))
    return runner._run_stage(step, source, ctx, None)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, data: Dataset) -> Path:
    """A run with a float model that has been pruned, and its int8 file."""
    place = tmp_path_factory.mktemp("run")
    model = network()
    ctx = context(place, "01-prune", data)
    pruned = ctx.save_keras(model, Artifact(stage="data", fingerprint="", directory=place))
    pruned = pruned.telling(ledger=ledger.of_keras(model))
    pruned.model_copy(update={"settings": {"batch_size": 16}}).save()
    source = artifact.load(ctx.directory)
    run("quantize", source, context(place, "02-quantize", data), method="ptq")
    return place


@pytest.fixture(scope="module")
def quantized(place: Path) -> Artifact:
    return artifact.load(place / "02-quantize")


@pytest.fixture(scope="module")
def exported(place: Path, quantized: Artifact, data: Dataset) -> Artifact:
    ctx = context(place, "03-export", data, ("mobile_cpu",))
    return run("export", quantized, ctx, demo=False, license="MIT", author="me")


@pytest.fixture
def again(place: Path, quantized: Artifact, data: Dataset) -> Export:
    """Export once more, from something else or with other settings."""

    def call(
        source: Artifact = quantized, data: Dataset = data, demo: bool = False, **settings: Any
    ) -> Artifact:
        ctx = context(place, "04-export", data)
        return run("export", source, ctx, demo=demo, **settings)

    return call


def content(made: Artifact, name: str) -> bytes:
    return (made.directory / name).read_bytes()


# the bundle


def test_every_file_is_delivered_and_the_manifest_last(exported: Artifact) -> None:
    assert set(exported.deliverables) == FILES
    assert exported.deliverables[-1] == bundle.MANIFEST
    assert {path.name for path in exported.directory.iterdir()} == {*FILES, artifact.FILE}


def test_the_manifest_has_the_digest_of_every_other_file(exported: Artifact) -> None:
    rows = json.loads(content(exported, bundle.MANIFEST))["files"]
    assert set(rows) == FILES - {bundle.MANIFEST}
    for name, row in rows.items():
        whole = content(exported, name)
        assert row == {"sha256": hashlib.sha256(whole).hexdigest(), "bytes": len(whole)}


def test_the_same_network_gives_the_same_files(exported: Artifact, again: Export) -> None:
    second = again(license="MIT", author="me")
    for name in FILES - {bundle.CARD, bundle.MANIFEST}:  # they hold the latency, which is measured
        assert content(second, name) == content(exported, name)


def test_the_numbers_are_those_of_the_file(exported: Artifact, data: Dataset) -> None:
    model = content(exported, bundle.MODEL)
    scores = Runner(model).scores(data.test.images[data.test.index])
    accuracy = np.mean(np.argmax(scores, axis=-1) == data.test.labels)
    assert exported.metrics["test_accuracy"] == accuracy > 0.9
    assert exported.metrics["size_bytes"] == len(model)


# model.tflite


def test_the_model_takes_and_gives_uint8_and_computes_what_was_quantized(
    exported: Artifact, quantized: Artifact, data: Dataset
) -> None:
    model = Runner(content(exported, bundle.MODEL))
    assert [t.dtype for t in (*model.graph.inputs, *model.graph.outputs)] == ["UINT8", "UINT8"]
    expected = Runner(quantized.model_path.read_bytes())
    images = data.test.images[data.test.index]
    np.testing.assert_array_equal(model.outputs(images), expected.outputs(images))


def test_the_model_knows_its_classes_and_forgot_its_tensors(exported: Artifact) -> None:
    model = content(exported, bundle.MODEL)
    assert metadata.labels(model) == list(CLASSES)
    assert {kernel.name for kernel in read(model).kernels} == {""}


def test_without_metadata_and_stripping_the_model_is_the_file_of_the_converter(
    again: Export, quantized: Artifact
) -> None:
    made = again(strip=False, metadata=False)
    assert content(made, bundle.MODEL) == quantized.model_path.read_bytes()
    assert metadata.labels(content(made, bundle.FLOAT)) is None


def test_mediapipe_shows_the_classes(exported: Artifact, data: Dataset) -> None:
    vision = pytest.importorskip("mediapipe.tasks.python.vision", reason="mediapipe is missing")
    import mediapipe
    from mediapipe.tasks.python import BaseOptions

    golden = np.load(exported.directory / bundle.GOLDEN)
    for name in (bundle.MODEL, bundle.FLOAT):
        base = BaseOptions(model_asset_path=str(exported.directory / name))
        options = vision.ImageClassifierOptions(base)
        with vision.ImageClassifier.create_from_options(options) as model:
            for image, scores in zip(golden["images"], golden["scores"], strict=True):
                result = model.classify(mediapipe.Image(mediapipe.ImageFormat.SRGB, image))
                best = result.classifications[0].categories[0]
                assert best.category_name == CLASSES[int(np.argmax(scores))]


# the ledger


def test_kernels_of_a_file_without_names_have_the_names_of_their_layers(
    exported: Artifact, quantized: Artifact
) -> None:
    rows = {row["layer"]: row for row in exported.details.ledger}
    assert list(rows) == ["left", "right", "logits"]
    assert rows["right"]["sparsity"] > 0.3 > rows["left"]["sparsity"]
    assert exported.details.ledger == quantized.details.ledger


def test_without_the_names_of_the_tensors_layers_of_one_size_would_be_mistaken(
    exported: Artifact, place: Path
) -> None:
    rows = ledger.of_tflite(read(content(exported, bundle.MODEL)))
    with pytest.raises(ModelError, match="export undid what was done before to layer 'right'"):
        ledger.checked(rows, "export", [artifact.load(place / "01-prune")])


# model_edgetpu.tflite


def test_the_edge_tpu_gets_int8_and_one_scale_for_a_dense_layer(exported: Artifact) -> None:
    graph = read(content(exported, bundle.EDGETPU))
    assert [t.dtype for t in (*graph.inputs, *graph.outputs)] == ["INT8", "INT8"]
    assert graph.float_operators == ()
    scales = {op.name: op.kernel.scales.size for op in graph.operators if op.kernel is not None}
    assert scales == {"CONV_2D": 3, "FULLY_CONNECTED": 1}
    assert "min_runtime_version" in graph.metadata


def test_the_edge_tpu_names_the_same_classes(exported: Artifact, data: Dataset) -> None:
    images = data.val.images[data.val.index]
    one, other = (
        np.argmax(Runner(content(exported, name)).scores(images), axis=-1)
        for name in (bundle.MODEL, bundle.EDGETPU)
    )
    assert exported.details.edgetpu == {
        "images": 36,
        "agreement": np.mean(one == other),
        "method": "ptq",
    }
    assert exported.details.edgetpu["agreement"] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("clusters", [False, True], ids=["plain", "clustered"])
def test_after_training_in_int8_the_edge_tpu_names_exactly_the_same_classes(
    place: Path, data: Dataset, again: Export, clusters: bool
) -> None:
    model = network()
    if clusters:  # one range for the whole kernel, written as one per channel
        for layer in ("left", "right", "logits"):
            kernel = model.get_layer(layer).kernel
            kernel.assign(np.round(np.array(kernel) * 3) / 3)
    ctx = context(place, "05-finetune", data)
    source = ctx.save_keras(model, Artifact(stage="data", fingerprint="", directory=place))
    source.save()
    ctx = context(place, "06-quantize", data)
    trained = run("quantize", source, ctx, method="qat", epochs=1)
    made = again(trained)
    assert made.details.edgetpu == {"images": 36, "agreement": 1.0, "method": "qat"}
    graph = read(content(made, bundle.EDGETPU))
    dense = [op.kernel.scales.size for op in graph.operators if op.name == "FULLY_CONNECTED"]
    assert dense == [1]


def test_an_edge_tpu_file_of_other_train_images_is_left_out_with_the_reason(
    again: Export, quantized: Artifact
) -> None:
    made = again(quantized.telling(calibration_sha256="0"))
    assert bundle.EDGETPU not in made.deliverables
    assert "not those that ranges were measured with" in made.details.left_out[bundle.EDGETPU]
    assert "`model_edgetpu.tflite` was left out: the train" in content(made, bundle.CARD).decode()


def test_an_edge_tpu_file_of_other_numbers_than_int8_is_left_out(
    again: Export, quantized: Artifact
) -> None:
    made = again(quantized.telling(precision="int4"))
    assert made.details.left_out == {
        bundle.EDGETPU: "the Edge TPU takes int8. Received: quantize.precision=int4"
    }


def test_what_quantize_passed_on_in_float_goes_out_in_float(
    place: Path, data: Dataset, tmp_path: Path
) -> None:
    shutil.copytree(place / "01-prune", tmp_path / "01-prune")
    pruned = artifact.load(tmp_path / "01-prune")
    ctx = context(tmp_path, "02-quantize", data)
    floating = convert.convert_float_file(pruned.model_path)
    passed = ctx.save_tflite(floating, pruned, details={"passed_on": "every attempt fell"})
    passed.save()
    made = run("export", passed, context(tmp_path, "03-export", data), demo=False)
    assert read(content(made, bundle.MODEL)).inputs[0].dtype == "FLOAT32"
    assert made.details.left_out == {
        bundle.EDGETPU: "quantize passed its input on: every attempt fell"
    }
    assert np.load(made.directory / bundle.GOLDEN)["raw"].dtype == np.float32


def test_a_float_model_is_quantized_after_training(place: Path, again: Export) -> None:
    made = again(artifact.load(place / "01-prune"), calibration_images=10)
    assert set(made.deliverables) == FILES
    assert made.details.parity["compared_with"] == "float"
    assert made.metrics["parity_agreement"] == made.details.parity["agreement"]


# the other files


def test_the_float_file_computes_what_keras_does(exported: Artifact, data: Dataset) -> None:
    images = data.test.images[data.test.index].astype(np.float32)
    found = Runner(content(exported, bundle.FLOAT)).scores(images)
    np.testing.assert_allclose(found, np.asarray(network()(images)), atol=1e-5)


def test_without_a_keras_model_there_is_no_float_file(again: Export, quantized: Artifact) -> None:
    made = again(quantized.model_copy(update={"parent": None}))
    assert bundle.FLOAT not in made.deliverables
    assert made.details.left_out == {bundle.FLOAT: "no stage left a Keras model"}


def test_golden_images_have_the_scores_that_litert_gives_them(
    exported: Artifact, data: Dataset
) -> None:
    golden = np.load(exported.directory / bundle.GOLDEN)
    model = Runner(content(exported, bundle.MODEL))
    assert golden["images"].shape == (16, *SHAPE)
    assert (golden["images"].dtype, golden["raw"].dtype) == (np.uint8, np.uint8)
    np.testing.assert_array_equal(model.scores(golden["images"]), golden["scores"])
    np.testing.assert_array_equal(golden["raw"] / np.float32(256), golden["scores"])
    test = {
        image.tobytes(): label
        for image, label in zip(data.test.images[data.test.index], data.test.labels, strict=True)
    }
    assert [test[image.tobytes()] for image in golden["images"]] == golden["labels"].tolist()


def test_the_verdict_of_every_target_says_which_file_it_is_of(exported: Artifact) -> None:
    verdicts = {one["target"]: one for one in exported.details.targets}
    assert set(verdicts) == {"mobile_cpu", "edgetpu"}
    assert verdicts["mobile_cpu"]["file"] == bundle.MODEL
    assert verdicts["edgetpu"]["file"] == bundle.EDGETPU
    assert all(one["runs"] for one in verdicts.values())


def test_a_page_that_cannot_be_made_is_left_out_with_the_reason(
    again: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_npm(*_: Any) -> str:
        raise ToolError("npm is not installed")

    monkeypatch.setattr(page, "demo", no_npm)
    made = again(demo=True)
    assert set(made.deliverables) == FILES
    assert made.details.left_out == {bundle.DEMO: "npm is not installed"}
