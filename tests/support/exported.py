"""A small network that was pruned, quantized and exported, as a run does it."""

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
from pipeline.context import Context
from pipeline.data.datasets import Dataset, Split
from pipeline.export import bundle
from pipeline.measure import ledger
from pipeline.recipe import Step

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
