"""The stage `finetune`: what it trains with, what it keeps, and what it refuses."""

import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers
from pydantic import ValidationError
from support import chain
from support.context import make_context

from pipeline.artifact import Artifact
from pipeline.context import Context
from pipeline.data.datasets import Dataset
from pipeline.errors import RecipeError
from pipeline.stages import finetune
from pipeline.train import augmented
from pipeline.train.settings import Settings
from search_spaces import inception
from search_spaces.base import Cheapest


@pytest.fixture
def ctx(few_digits: Dataset, tmp_path: Path) -> Context:
    return make_context(tmp_path, few_digits, name="finetune", seed=3)


def saved(folder: Path, model: keras.Model, **about: Any) -> Artifact:
    model.save(folder / "source.keras")
    return Artifact(
        stage="search", fingerprint="y", directory=folder, model_file="source.keras", **about
    )


@pytest.mark.slow
def test_finetune_trains_with_what_it_is_given_and_keeps_the_rest(ctx: Context) -> None:
    arch = inception.sample(Cheapest())
    model = inception.build(arch, ctx.data.image_shape, 10)
    source = saved(
        ctx.directory,
        model,
        family="inception",
        arch=arch.model_dump(mode="json"),
        settings={"batch_size": 48, "label_smoothing": 0.1},
    )
    images = keras.Input(ctx.data.image_shape)
    scores = layers.Dense(10, activation="softmax")(layers.Flatten()(images))
    teacher = str(ctx.directory / "teacher.keras")
    keras.Model(images, scores).save(teacher)
    given = {"epochs": 1, "ema": 0.9, "teacher": teacher, "augmentation": {"mixup": 0.2, "crop": 1}}
    config = finetune.Config(**given)
    finetune.check(config, ctx.data, ctx.budget, ())
    done = finetune.run(source, config, ctx)
    assert [path.name for path in ctx.log.files] == [augmented.PICTURE]  # type: ignore[attr-defined]
    assert (ctx.directory / augmented.PICTURE).exists()
    assert len(done.details.history["val/loss"]) == 1
    left = keras.models.load_model(done.model_path)
    assert [v.shape for v in left.weights] == [v.shape for v in model.weights]


def test_every_setting_of_training_can_be_given_to_finetune() -> None:
    assert {*Settings.model_fields} <= {*finetune.Config.model_fields}
    assert finetune.Config().settings() == {"epochs": 30, "patience": 10}
    given = {"l2": 0.1, "warmup": 0.2, "augmentation": {"randaugment": {"operations": 3}}}
    settings = Settings(**{"l1": 0.5, **finetune.Config(**given).settings()})
    assert (settings.l1, settings.l2, settings.warmup) == (0.5, 0.1, 0.2)
    assert settings.augmentation.randaugment.operations == 3  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 1},
        {"ema": 1.0},
        {"schedule": "plateau", "warmup": 0.1},
        {"augmentation": {"blur": 1}},
        {"temperature": 0},
        {"distillation_weight": 2},
    ],
)
def test_settings_of_finetune_are_checked_with_the_recipe(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        finetune.Config(**wrong)


def test_a_teacher_for_other_classes_is_refused(ctx: Context) -> None:
    model = inception.build(inception.sample(Cheapest()), ctx.data.image_shape, 7)
    saved(ctx.directory, model)
    config = finetune.Config(teacher=str(ctx.directory / "source.keras"))
    with pytest.raises(RecipeError, match=r"finetune\.teacher: .*7"):
        finetune.check(config, ctx.data, ctx.budget, ())


def test_a_network_with_dropout_is_trained_the_same_way_again(
    few_digits: Dataset, tmp_path: Path
) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(few_digits.image_shape)
    x = layers.Dropout(0.5)(layers.Flatten()(layers.Rescaling(1 / 255)(inputs)))
    scores = layers.Dense(few_digits.num_classes, activation="softmax")(x)
    source = chain.saved(keras.Model(inputs, scores), tmp_path / "source")
    histories = []
    for state in (1, 2):
        random.seed(state)  # whatever an earlier stage has drawn
        place = tmp_path / str(state)
        place.mkdir()
        histories.append(chain.run("finetune", source, few_digits, place, epochs=1).details.history)
    assert histories[0] == histories[1]


# a stage that should end in time


def small(ctx: Context) -> Artifact:
    inputs = keras.Input(ctx.data.image_shape)
    x = layers.Flatten()(layers.Rescaling(1 / 128, offset=-1.0)(inputs))
    return saved(ctx.directory, keras.Model(inputs, layers.Dense(10, "softmax")(x)))


@pytest.mark.slow
def test_finetune_trains_as_many_epochs_as_there_is_time_for(ctx: Context) -> None:
    source, until = small(ctx), time.monotonic() + 12
    done = finetune.run(source, finetune.Config(), replace(ctx, until=until))
    # neither the epochs nor the patience of the settings end it
    assert len(done.details.history["val/loss"]) > 30 or time.monotonic() > until - 4
    assert time.monotonic() < until + 8


def test_finetune_trains_no_more_epochs_than_asked_for(ctx: Context) -> None:
    source, until = small(ctx), time.monotonic() + 100
    done = finetune.run(source, finetune.Config(epochs=3), replace(ctx, until=until))
    assert len(done.details.history["val/loss"]) == 3
