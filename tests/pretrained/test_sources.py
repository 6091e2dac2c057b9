"""Trained networks by name: of files, runs and MLflow."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support.pretrained import classifier, has_weights, pixels, same

from pipeline.artifact import Artifact
from pipeline.errors import ModelError
from pipeline.pretrained import sources
from pipeline.tracking import runs


def saved(directory: Path, stage: str, number: int, **fields: Any) -> keras.Model:
    place = directory / f"{number:02d}-{stage}"
    place.mkdir(parents=True)
    model = classifier()
    model.save(place / "model.keras")
    artifact = Artifact(
        stage=stage, fingerprint="a", model_file="model.keras", directory=place, **fields
    )
    artifact.save()
    return model


def test_a_file_is_loaded(tmp_path: Path) -> None:
    model = saved(tmp_path, "search", 1)
    loaded = sources.load(str(tmp_path / "01-search/model.keras"))
    same(loaded.model(pixels(16, 16, 3)), model(pixels(16, 16, 3)))
    assert (loaded.imagenet, loaded.family) == (False, None)


@pytest.mark.slow
@has_weights
@pytest.mark.parametrize("weights", [False, True])
def test_a_network_of_a_package_is_loaded_at_its_own_size(weights: bool) -> None:
    loaded = sources.load("efficientnet_lite2", weights)
    assert loaded.model.input_shape == (None, 260, 260, 3)
    assert (loaded.imagenet, loaded.family) == (True, "efficientnet_lite")
    assert loaded.arch is not None
    assert loaded.arch["width"] == 1.1
    trained = np.ptp(loaded.model.get_layer("stem_norm").gamma) > 0
    assert trained == weights


def test_of_a_run_the_last_keras_model_is_loaded(tmp_path: Path) -> None:
    saved(tmp_path, "search", 1, family="vgg", arch={"width": 1})
    saved(tmp_path, "finetune", 2, family="resnet", arch={"width": 8})
    place = tmp_path / "03-quantize"
    place.mkdir()
    Artifact(stage="q", fingerprint="a", model_file="model.tflite", directory=place).save()
    loaded = sources.load(str(tmp_path))
    assert (loaded.family, loaded.arch) == ("resnet", {"width": 8})
    assert sources.load(str(tmp_path / "01-search")).family == "vgg"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("none.keras", "no such file"),
        ("empty", r"no Keras model in the run. Received: empty, finished stages: none"),
        ("broken.keras", "not a .keras file"),
        ("efficientnet_lite9", r"unknown source.*: efficientnet_lite0, .*_lite2, app"),
        ("mlflow:runs:/none/model.keras", r"MLflow has no such model. Received: mlflow:runs:/none"),
    ],
)
def test_a_source_that_is_not_there_is_refused(source: str, reason: str, workplace: Path) -> None:
    (workplace / "empty").mkdir(exist_ok=True)
    (workplace / "broken.keras").write_bytes(b"not a zip")
    with pytest.raises(ModelError, match=reason):
        sources.load(source)


def test_a_file_that_mlflow_keeps_is_loaded(workplace: Path) -> None:
    model = saved(workplace / "logged", "search", 1)
    with runs.start("run") as run:
        run.file(workplace / "logged/01-search/model.keras")
        run.text("no model", "note.txt")
    loaded = sources.load(f"mlflow:runs:/{run.run_id}/model.keras")
    same(loaded.model(pixels(16, 16, 3)), model(pixels(16, 16, 3)))
    with pytest.raises(ModelError, match=r"no single Keras model there.*note\.txt"):
        sources.load(f"mlflow:runs:/{run.run_id}/note.txt")
