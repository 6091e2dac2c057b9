"""`flopsmith compress`: a model that no search of ours made, down to an int8 file."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from pipeline import artifact
from pipeline.__main__ import main
from pipeline.data import datasets
from pipeline.data.datasets import DataConfig, Dataset
from pipeline.measure import metrics
from pipeline.tflite.classifier import Runner
from pipeline.tflite.read import read


def command(*words: str, place: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "pipeline", "compress", *words]
    return subprocess.run(line, cwd=place, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return datasets.load(DataConfig(source="digits"), 0)


@pytest.fixture(scope="module")
def place(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a model of pixels 0..1 and logits, as a tutorial trains one."""
    place = tmp_path_factory.mktemp("compress")
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input(digits.image_shape),
            layers.Conv2D(12, 3, strides=2, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, jit_compile=False)
    train = digits.train
    images = train.images[train.index].astype(np.float32) / 255
    model.fit(images, train.labels, epochs=8, verbose=0)
    model.save(place / "my.keras")
    return place


@pytest.fixture
def refused(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Compress a model that is refused; everything that is said."""

    def said(model: str, *words: str) -> str:
        monkeypatch.chdir(place)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place / 'mlflow.db'}")
        assert main(["compress", model, "--data", "digits", *words]) == 2
        return capsys.readouterr().err

    return said


@pytest.mark.slow
def test_a_trained_model_becomes_a_small_int8_file_as_far_as_accuracy_allows(place: Path) -> None:
    settings = "prune.epochs=4 cluster.epochs=1 quantize.epochs=2"
    words = ("my.keras", "--data", "digits", "--max-accuracy-drop", "0.02", "--set", settings)
    ended = command(*words, place=place)
    assert ended.returncode == 0, ended.stderr
    assert "val images right with pixels 0..1" in ended.stderr
    out = place / "runs" / "compress-my"
    stages = {done.stage: done for done in artifact.load_all(out)}
    content = (out / "export" / "model.tflite").read_bytes()
    assert read(content).float_operators == ()
    start = stages["load"].metrics["val_accuracy"]
    for name in ("prune", "cluster", "quantize", "export"):
        assert stages[name].metrics["val_accuracy"] >= start - 0.02 - 1e-9, name
    assert stages["export"].metrics["sparsity"] >= 0.3
    assert stages["export"].metrics["distinct_weights"] <= 64
    assert stages["quantize"].metrics["parity_agreement"] >= 0.97
    runner = Runner(content)
    as_stated = datasets.load(DataConfig(source="digits", fit=runner.form.fit), 0)
    hits = metrics.tflite_hits(runner, as_stated.test)
    assert hits.mean() == stages["export"].metrics["test_accuracy"]
    again = command(*words, place=place)
    assert again.stderr.count(": done before,") == len(stages)
    assert json.loads((out / "02-prune" / "artifact.json").read_text())["details"]["attempts"]


@pytest.mark.slow
def test_a_layer_that_int8_lacks_is_refused_before_anything_is_trained(
    place: Path, digits: Dataset, refused: Callable[..., str]
) -> None:
    model = keras.Sequential(
        [
            keras.Input(digits.image_shape),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, strides=2, name="eyes"),
            layers.LayerNormalization(name="bent"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ]
    )
    model.save(place / "bent.keras")
    said = refused("bent.keras", "--set", "load.accept=true")  # it was never trained
    assert "layer 'bent' cannot be int8. Received: RSQRT, which computes in float only" in said
    assert "prune: started" not in said


def test_a_model_of_other_classes_is_refused(
    place: Path, digits: Dataset, refused: Callable[..., str]
) -> None:
    model = keras.Sequential([keras.Input(digits.image_shape), layers.Flatten(), layers.Dense(7)])
    model.save(place / "seven.keras")
    assert "scores other classes" in refused("seven.keras")
    assert not (place / "runs" / "compress-seven").exists()


def test_a_model_that_is_not_there_is_refused(refused: Callable[..., str]) -> None:
    assert "no such file" in refused("none.keras")


@pytest.mark.slow
def test_the_score_to_keep_is_that_of_the_command(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    words = ["compress", "my.keras", "--data", "digits", "--objective", "macro_f1", "--dry-run"]
    assert main(words) == 0
    assert "objective: macro F1 on val decides" in capsys.readouterr().out


def test_a_score_that_does_not_exist_is_refused_with_those_that_do(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    assert main(["compress", "my.keras", "--data", "digits", "--objective", "f2"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "objective" in said
    assert "macro_f1" in said
    assert "Received: 'f2'" in said
