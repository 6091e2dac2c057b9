"""Every file of the bundle is right, and agrees with the others."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.exported import CLASSES, FILES, SHAPE, Export, content, network
from support.exported import again as again
from support.exported import data as data
from support.exported import exported as exported
from support.exported import place as place
from support.exported import quantized as quantized

from pipeline import artifact
from pipeline.artifact import Artifact
from pipeline.data.datasets import Dataset
from pipeline.data.pictures import Form
from pipeline.errors import ToolError
from pipeline.export import bundle
from pipeline.measure import answers
from pipeline.targets.browser import page
from pipeline.tflite import metadata
from pipeline.tflite.classifier import Runner
from pipeline.tflite.read import read

# the bundle


def test_every_file_is_delivered_and_the_manifest_last(exported: Artifact) -> None:
    assert set(exported.deliverables) == FILES
    assert exported.deliverables[-1] == bundle.MANIFEST
    assert {path.name for path in exported.directory.iterdir()} == {
        *FILES,
        artifact.FILE,
        answers.FILE,
    }


def test_the_manifest_has_the_digest_of_every_other_file(exported: Artifact) -> None:
    rows = json.loads(content(exported, bundle.MANIFEST))["files"]
    assert set(rows) == FILES - {bundle.MANIFEST}
    for name, row in rows.items():
        whole = content(exported, name)
        assert row == {"sha256": hashlib.sha256(whole).hexdigest(), "bytes": len(whole)}


@pytest.mark.slow
def test_the_same_network_gives_the_same_files(exported: Artifact, again: Export) -> None:
    second = again(license="MIT", author="me")
    for name in FILES - {bundle.CARD, bundle.MANIFEST}:  # they hold the latency, which is measured
        assert content(second, name) == content(exported, name)


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


@pytest.mark.slow
def test_without_metadata_and_stripping_the_model_is_the_file_of_the_converter(
    again: Export, quantized: Artifact
) -> None:
    made = again(strip=False, metadata=False)
    assert content(made, bundle.MODEL) == quantized.model_path.read_bytes()
    assert metadata.labels(content(made, bundle.FLOAT)) is None


@pytest.mark.slow
@pytest.mark.parametrize("metadata_too", [True, False])
def test_every_model_knows_how_pictures_were_fitted(
    again: Export, data: Dataset, exported: Artifact, metadata_too: bool
) -> None:
    form = Form(SHAPE[:2], SHAPE[2], "pad", (0, 4095))
    made = again(data=replace(data, form=form), metadata=metadata_too)
    for name in (bundle.MODEL, bundle.EDGETPU, bundle.FLOAT):
        told = metadata.form(content(made, name))
        assert (told.fit, told.levels) == ("pad", (0, 4095))
        Runner(content(made, name))  # what is attached does not disturb the runtime
        assert metadata.form(content(exported, name)) == Form()


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


def test_a_page_that_cannot_be_made_is_left_out_with_the_reason(
    again: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_npm(*_: Any) -> str:
        raise ToolError("npm is not installed")

    monkeypatch.setattr(page, "demo", no_npm)
    made = again(demo=True)
    assert set(made.deliverables) == FILES
    assert made.details.left_out == {bundle.DEMO: "npm is not installed"}
