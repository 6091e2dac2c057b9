"""Both methods of `quantize` on one network: which of them is kept, and when only one is tried."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers
from support.chain import run, saved

from pipeline.artifact import Artifact
from pipeline.data.datasets import Dataset
from pipeline.errors import ModelError
from pipeline.measure import metrics
from pipeline.tflite.classifier import Runner


def small(body: Callable[[Any], Any], data: Dataset, place: Path) -> Artifact:
    """A tiny untrained classifier with something inside."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(data.image_shape)
    x = body(layers.Conv2D(4, 3, 2)(layers.Rescaling(1 / 128, -1.0)(inputs)))
    x = layers.Dense(data.num_classes, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    return saved(keras.Model(inputs, x), place)


@pytest.mark.slow
def test_the_method_that_does_better_on_validation_is_kept(data: Dataset, tmp_path: Path) -> None:
    source = small(layers.ReLU(), data, tmp_path)
    made = run("quantize", source, data, tmp_path, epochs=1, calibration_images=20)
    accuracy = made.details.val_accuracy
    assert set(accuracy) == {"ptq", "qat"}
    assert accuracy[made.details.method] == max(accuracy.values())
    runner = Runner(made.model_path.read_bytes())
    assert metrics.tflite_hits(runner, data.val).mean() == max(accuracy.values())
    assert re.fullmatch("[0-9a-f]{64}", made.details.calibration_sha256)
    assert made.details.calibration_images == 20
    left = {path.name for path in made.directory.iterdir() if path.is_dir()}
    # what was trained needs nothing but the file to be converted again
    assert left == ({"saved_model"} if made.details.method == "ptq" else set())


def test_a_network_that_cannot_be_trained_as_int8_is_quantized_after_training(
    data: Dataset, tmp_path: Path
) -> None:
    source = small(lambda x: keras.ops.rsqrt(keras.ops.relu(x) + 1.0), data, tmp_path)
    made = run("quantize", source, data, tmp_path, calibration_images=20)
    assert made.details.method == "ptq"
    assert "RSQRT" in made.details.refused["qat"]
    assert {row["treatment"] for row in made.details.layers} == {"quantized"}
    again = tmp_path / "again"
    again.mkdir()
    with pytest.raises(ModelError, match="RSQRT"):
        run("quantize", source, data, again, method="qat")
