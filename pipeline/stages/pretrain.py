"""Pretrain: learn features from another data set first.

Reads:   a Keras model, and another data set of images with as many channels.
Writes:  the same network with the weights that it learnt there, and a new last layer.
Why:     features learnt from many images help where there are few; `finetune` comes next.
Source:  Yosinski et al. 2014, https://arxiv.org/abs/1411.1792.
"""

from typing import Any

from pydantic import Field, field_validator

from pipeline.artifact import Artifact
from pipeline.budget import Budget
from pipeline.context import Context
from pipeline.data.datasets import DataConfig, Dataset, load
from pipeline.data.places import parse
from pipeline.details import Details
from pipeline.errors import DataError, RecipeError
from pipeline.stage import StageConfig
from pipeline.train.checkpoint import CHECKPOINT
from pipeline.train.settings import merged, overrides

Overrides: Any = overrides(StageConfig)


class Config(Overrides):
    """The `pretrain:` section of a recipe."""

    data: DataConfig = Field(
        DataConfig(),
        description="The other data set: a source, or a mapping like `data:` of the recipe",
    )
    epochs: int = Field(10, ge=1, description="Most epochs of training on it")

    @field_validator("data")
    @classmethod
    def _known(cls, config: DataConfig) -> DataConfig:
        try:
            parse(config.source)
        except DataError as error:
            raise ValueError(str(error)) from error
        return config


def check(config: Config, dataset: Dataset, budget: Budget, targets: tuple[str, ...]) -> None:
    """Refuse data that do not exist or have another number of channels."""
    _first(config, dataset, seed=0)
    config.check_colours("pretrain", dataset.image_shape[-1])


def run(source: Artifact, config: Config, ctx: Context) -> Artifact:
    """Train `source`'s network on the other data, and give it a last layer for those of the run."""
    import keras

    from pipeline.graph import keras_file
    from pipeline.pretrained.adaptation import adapt
    from pipeline.train import augmented, training

    first = _first(config, ctx.data, ctx.seed)
    found = dict(source.settings)
    if isinstance(found.get("class_weights"), dict):  # of other classes
        del found["class_weights"]
    settings = merged(found, config.settings())
    if picture := augmented.write(settings, first, ctx.seed, ctx.directory):
        ctx.log.file(picture)
    keras.utils.set_random_seed(ctx.seed)
    loaded = keras_file.load(source.model_path)
    model, _ = adapt(loaded, first.image_shape, first.num_classes, "new")
    history = training.fit(
        model,
        first,
        settings,
        ctx.seed,
        training.Session(
            "pretrain",
            ctx.curve,
            ctx.directory / CHECKPOINT,
            until=ctx.until,
            most=config.epochs,
            objective=ctx.objective,
        ),
    )
    model, new = adapt(model, ctx.data.image_shape, ctx.data.num_classes, "new")
    details = Details(history=history, source=first.name, new_layers=new, pretrained=True)
    return ctx.save_keras(model, source, details=details)


def _first(config: Config, dataset: Dataset, seed: int) -> Dataset:
    """The other data set, at the size of the images of the run unless it has one of its own."""
    size = config.data.image_size or dataset.image_shape[:2]
    found = load(config.data.model_copy(update={"image_size": size}), seed)
    if found.image_shape[-1] != dataset.image_shape[-1]:
        raise RecipeError(
            f"pretrain.data: has images of other channels than those of the run. Received: "
            f"{found.image_shape[-1]} for {dataset.image_shape[-1]}. Choose images that are both "
            "grey or both in colour"
        )
    return found
