"""The native engine: trained like every network, resumed after a kill, without another Keras."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from support.chain import saved
from support.context import make_context
from support.imports import ROOT

from pipeline import stage
from pipeline.data.datasets import Dataset
from pipeline.errors import ModelError
from pipeline.quantization import native
from pipeline.quantization.job import Form, Job, Quantized
from pipeline.tflite.classifier import Runner
from pipeline.train.settings import Settings
from pipeline.train.training import Session


def network(data: Dataset) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(data.image_shape)
    x = layers.Rescaling(1 / 128, -1.0)(inputs)
    x = layers.Conv2D(6, 3, strides=4, use_bias=False, name="stem")(x)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.Dense(10, name="dense")(layers.GlobalAveragePooling2D(name="pool")(x))
    return keras.Model(inputs, layers.Softmax(name="softmax")(x))


def job(data: Dataset, place: Path, **settings: Any) -> Job:
    given = {"epochs": 2, "learning_rate": 0.05, "batch_size": 16, **settings}
    images = data.train.images[data.train.index[:16]]
    return Job(data, Settings(**given), 0, Session("quantize"), images, place)


@pytest.fixture(scope="module")
def trained(
    few_digits: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[keras.Model, Quantized]:
    model = network(few_digits)
    return model, native.quantize(model, job(few_digits, tmp_path_factory.mktemp("native")))


def test_it_trains_a_copy(trained: tuple[keras.Model, Quantized], few_digits: Dataset) -> None:
    model, made = trained
    for one, other in zip(model.get_weights(), network(few_digits).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert {len(curve) for curve in made.history.values()} == {2}


def test_the_file_computes_what_training_ended_with(
    trained: tuple[keras.Model, Quantized], few_digits: Dataset
) -> None:
    _, made = trained
    images = few_digits.test.images[few_digits.test.index]
    found, expected = Runner(made.content).scores(images), made.reference.scores(images)
    assert np.max(np.abs(found - expected)) <= 1.05 / 256
    untrained = network(few_digits)(images.astype(np.float32), training=False)
    assert np.max(np.abs(found - untrained)) > 0.02


def test_every_layer_with_weights_or_an_operator_has_a_row(
    trained: tuple[keras.Model, Quantized],
) -> None:
    rows = {row["layer"]: row for row in trained[1].layers}
    assert {"stem", "dense"} <= set(rows)
    assert rows["stem"]["treatment"] == rows["dense"]["treatment"] == "quantized"
    assert rows["norm"]["reason"] == "part of another operator"


def test_every_call_of_the_reference_reads_earlier_ones(
    trained: tuple[keras.Model, Quantized], few_digits: Dataset
) -> None:
    calls = trained[1].reference.calls(few_digits.test.images[:2])
    assert [call.made.shape[0] for call in calls] == [2] * len(calls)
    assert all(number < place for place, call in enumerate(calls) for number in call.reads)
    assert calls[0].layer == "stem"


def test_weights_that_are_no_numbers_end_it_before_training(
    few_digits: Dataset, tmp_path: Path
) -> None:
    model = network(few_digits)
    model.get_layer("dense").kernel.assign(np.full((6, 10), np.nan))
    for attempt in (
        lambda: native.foresee(model, Form()),
        lambda: native.quantize(model, job(few_digits, tmp_path)),
    ):
        with pytest.raises(ModelError, match=r"layer 'dense' has weights that are no numbers"):
            attempt()


# the stage

STAGE = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from support.chain import run
from support.context import make_context
from pipeline import stage
from pipeline.artifact import Artifact
from pipeline.data import datasets
from pipeline.data.datasets import DataConfig, Dataset, Split
from pipeline.tracking import runs

data = datasets.load(DataConfig(), seed=0)
def some(split, count):
    return Split(split.images, split.labels[:count], split.index[:count])
data = Dataset("few", data.class_names, some(data.train, 96), some(data.val, 48),
               some(data.test, 48), fingerprint="few")
source = Artifact(stage="finetune", fingerprint="", directory=Path({source!r}),
                  model_file="model.keras", settings={{"batch_size": 32}})
module, place = stage.load("quantize"), Path({place!r})
context = make_context(place, data)
points = context.log.metrics
def dying(values, step=None):
    points(values, step)
    print("epoch", step, flush=True)
    if step == {last}:
        os.kill(os.getpid(), signal.SIGKILL)
context.log.metrics = dying
module.run(source, module.Config(method="qat", epochs=4), context)
bad = {{"tf_keras", "tensorflow_model_optimization"}} & set(sys.modules)
sys.exit(str(bad) if bad else 0)
"""


def started(source: Path, place: Path, last: int | None) -> "subprocess.CompletedProcess[str]":
    code = STAGE.format(tests=str(ROOT / "tests"), source=str(source), place=str(place), last=last)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    env.pop("TF_USE_LEGACY_KERAS", None)  # which tfmot sets for the whole process
    return subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_a_killed_stage_goes_on_to_the_same_bytes_without_another_keras(
    few_digits: Dataset, tmp_path: Path
) -> None:
    saved(network(few_digits), tmp_path / "float")
    whole = started(tmp_path / "float", tmp_path / "whole" / "quantize", None)
    assert whole.returncode == 0, whole.stderr[-2000:]
    killed = started(tmp_path / "float", tmp_path / "killed" / "quantize", 2)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    resumed = started(tmp_path / "float", tmp_path / "killed" / "quantize", None)
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    epochs = [line for line in resumed.stdout.splitlines() if line.startswith("epoch")]
    assert 0 < len(epochs) < 4  # not from the first one
    one, other = (
        (tmp_path / name / "quantize" / "model.tflite").read_bytes() for name in ("whole", "killed")
    )
    assert one == other


def test_the_stage_uses_it_unless_asked(few_digits: Dataset, tmp_path: Path) -> None:
    module = stage.load("quantize")
    assert module.Config().engine == "native"
    source = saved(network(few_digits), tmp_path / "float")
    config = module.Config(method="qat", epochs=1)
    made = module.run(source, config, make_context(tmp_path / "quantize", few_digits))
    assert made.details.parity["compared_with"] == "simulation"
    assert made.details.parity["worst_difference"] <= 1.05 / 256
    assert not (made.directory / "saved_model").exists()
