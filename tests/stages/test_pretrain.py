"""Features from another data set: a network learns there and comes back with a new last layer."""

from pathlib import Path

import keras
import numpy as np
import pytest
from support.context import make_context

from pipeline import stage
from pipeline.artifact import Artifact
from pipeline.context import Context
from pipeline.data.datasets import Dataset
from pipeline.errors import RecipeError
from search_spaces import base

PRETRAIN = stage.load("pretrain")


@pytest.fixture
def ctx(tmp_path: Path, few_digits: Dataset) -> Context:
    return make_context(tmp_path / "02-pretrain", few_digits)


@pytest.fixture
def bars(tmp_path: Path) -> str:
    """Grey images of three classes, which differ in how much is white."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = rng.integers(0, 60, (60, 32, 32), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[: 10 * label + 4] += 180
    file = tmp_path / "bars.npz"
    np.savez(file, x_train=images[:45], y_train=labels[:45], x_test=images[45:],
             y_test=labels[45:])  # fmt: skip
    return f"npz:{file}"


def network(ctx: Context) -> Artifact:
    keras.utils.set_random_seed(0)
    inputs, x = base.pixels(ctx.data.image_shape)
    x = base.conv(x, 4, 3, 2, name="one", style=base.Style())
    model = keras.Model(inputs, base.scores(x, ctx.data.num_classes, base.Style()))
    place = ctx.run_dir / "01-load"
    place.mkdir()
    model.save(place / "model.keras")
    return Artifact(stage="load", fingerprint="x", model_file="model.keras", directory=place)


@pytest.mark.slow
def test_the_body_learns_and_the_head_is_new(ctx: Context, bars: str) -> None:
    source = network(ctx)
    config = PRETRAIN.Config(data=bars, epochs=16, learning_rate=0.03, batch_size=8)
    made = PRETRAIN.run(source, config, ctx)
    before = keras.models.load_model(source.model_path)
    after = keras.models.load_model(made.model_path)
    assert after.output_shape == (None, 10)
    assert np.abs(np.array(before.get_layer("one").kernel - after.get_layer("one").kernel)).max()
    assert made.details.new_layers == ["logits"]
    assert made.details.pretrained is True
    assert max(made.details.history["train/accuracy"]) > 0.8


def test_images_of_other_channels_are_refused(
    few_digits: Dataset, ctx: Context, tmp_path: Path
) -> None:
    file = tmp_path / "colour.npz"
    images = np.zeros((40, 32, 32, 3), np.uint8)
    labels = np.arange(40) % 2
    np.savez(file, x_train=images, y_train=labels, x_test=images, y_test=labels)
    config = PRETRAIN.Config(data=f"npz:{file}")
    with pytest.raises(RecipeError, match="3 for 1"):
        PRETRAIN.check(config, few_digits, ctx.budget, ())


def test_a_source_that_cannot_be_is_refused_with_the_recipe() -> None:
    with pytest.raises(ValueError, match="no such data source"):
        PRETRAIN.Config(data="photos")


def test_weights_of_the_classes_of_the_run_are_not_those_of_the_other_data(
    ctx: Context, bars: str
) -> None:
    source = network(ctx)
    weighed = {"class_weights": {"7": 3.0}, "batch_size": 8}
    source = source.model_copy(update={"settings": weighed})
    made = PRETRAIN.run(source, PRETRAIN.Config(data=bars, epochs=1), ctx)
    assert made.settings == weighed
