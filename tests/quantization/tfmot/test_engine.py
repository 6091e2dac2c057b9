"""The engine of tfmot has the same two functions as the native one."""

import inspect
from pathlib import Path

import pytest
from keras import Input, Model, layers

from pipeline.data.datasets import Dataset
from pipeline.errors import ModelError
from pipeline.quantization import native
from pipeline.quantization.job import Form, Job
from pipeline.quantization.tfmot import engine
from pipeline.train.settings import Settings
from pipeline.train.training import Session


@pytest.mark.parametrize("name", ["foresee", "quantize"])
def test_both_engines_are_called_alike(name: str) -> None:
    one, other = (inspect.signature(getattr(module, name)) for module in (engine, native))
    assert one == other


@pytest.mark.parametrize("module", [engine, native])
def test_both_foresee_what_they_refuse_by_name(module: object) -> None:
    inputs = Input((8, 8, 3))
    x = layers.GroupNormalization(1, name="culprit")(layers.Conv2D(4, 3)(inputs))
    model = Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    with pytest.raises(ModelError, match="culprit"):
        module.foresee(model, Form())  # type: ignore[attr-defined]


def test_weights_that_it_lacks_are_refused(few_digits: Dataset, tmp_path: Path) -> None:
    inputs = Input(few_digits.image_shape)
    model = Model(inputs, layers.Dense(10)(layers.Flatten()(inputs)))
    settings, images = Settings(epochs=1, learning_rate=0.1, batch_size=8), few_digits.train.images
    job = Job(few_digits, settings, 0, Session("q"), images, tmp_path, Form("ternary"))
    with pytest.raises(ModelError, match=r"Received: .*ternary.*quantize\.engine=native"):
        engine.quantize(model, job)
