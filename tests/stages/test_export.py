"""The stage `export`: what goes out of a model in int8 and in float, and what is told of it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from support.exported import FILES, Export, content, context, run
from support.exported import again as again
from support.exported import data as data
from support.exported import exported as exported
from support.exported import place as place
from support.exported import quantized as quantized

from pipeline import artifact
from pipeline.artifact import Artifact
from pipeline.data.datasets import Dataset
from pipeline.errors import ModelError
from pipeline.export import bundle
from pipeline.measure import ledger
from pipeline.tflite import convert
from pipeline.tflite.classifier import Runner
from pipeline.tflite.read import read

# its numbers


def test_the_numbers_are_those_of_the_file(exported: Artifact, data: Dataset) -> None:
    model = content(exported, bundle.MODEL)
    scores = Runner(model).scores(data.test.images[data.test.index])
    accuracy = np.mean(np.argmax(scores, axis=-1) == data.test.labels)
    assert exported.metrics["test_accuracy"] == accuracy > 0.9
    assert exported.metrics["size_bytes"] == len(model)


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


# models in float


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


# where it runs


def test_the_verdict_of_every_target_says_which_file_it_is_of(exported: Artifact) -> None:
    verdicts = {one["target"]: one for one in exported.details.targets}
    assert set(verdicts) == {"mobile_cpu", "edgetpu"}
    assert verdicts["mobile_cpu"]["file"] == bundle.MODEL
    assert verdicts["edgetpu"]["file"] == bundle.EDGETPU
    assert all(one["runs"] for one in verdicts.values())
