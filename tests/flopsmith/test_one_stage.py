"""Single stages: settings are checked, and a model comes in with the pixels it takes."""

import keras
import numpy as np
import pytest
from support.classifier import classifier

import flopsmith
from flopsmith import one_stage
from pipeline.data.datasets import Dataset
from pipeline.errors import ModelError, RecipeError


def test_a_setting_out_of_range_is_named(squares: Dataset) -> None:
    with pytest.raises(RecipeError, match=r"prune\.sparsity.*Received: 2"):
        flopsmith.prune(classifier(), squares, sparsity=2)


def test_a_model_for_other_classes_is_refused(squares: Dataset) -> None:
    with pytest.raises(ModelError, match="2 classes"):
        flopsmith.prune(classifier(classes=3), squares)


def test_a_model_of_other_pixels_comes_in_for_bytes(squares: Dataset) -> None:
    with one_stage.with_model(classifier(scale=1.0), squares, 0, pixels="0..1") as (_, made):
        assert made.metrics["val_accuracy"] == 1.0
        model = keras.models.load_model(made.model_path)
    images, labels = squares.test.arrays()
    assert (np.argmax(model(images.astype(np.float32)), axis=1) == labels).all()
