"""Factorize: replace kernels by products of smaller ones, then train them.

Reads:   a trained Keras model.
Writes:  one with more layers, but fewer FLOPs and parameters; it has no arch any more.
Why:     most of a trained kernel lies in few directions; the others cost as much.
Source:  Denton et al. 2014, https://arxiv.org/abs/1404.0736; Kim et al. 2016,
         https://arxiv.org/abs/1511.06530; Jaderberg et al. 2014, https://arxiv.org/abs/1405.3866.
"""

import logging
from typing import Any, ClassVar, Literal

from pydantic import Field

from pipeline.artifact import Artifact
from pipeline.budget import Count
from pipeline.context import Context
from pipeline.details import Details
from pipeline.stage import Ladder, StageConfig
from pipeline.train.settings import Settings

log = logging.getLogger("flopsmith")


class Config(StageConfig):
    """The `factorize:` section of a recipe."""

    before: ClassVar[tuple[str, ...]] = ("prune", "cluster")

    energy: float = Field(
        0.9, gt=0, le=1, description="Fraction of the squared singular values that a kernel keeps"
    )
    flops: Count | None = Field(
        None, gt=0, description="Most FLOPs of the result, in place of `energy`"
    )
    convolutions: Literal["tucker", "separable"] = Field(
        "tucker",
        description="What replaces a kernel larger than 1x1: tucker, 1x1 then kxk then 1x1; "
        "separable, depthwise then 1x1",
    )
    epochs: int = Field(10, ge=1, description="Epochs of training the factors")
    learning_rate: float | None = Field(
        None, gt=0, description="Peak learning rate; none: that found in the search"
    )


def ladder(config: Config) -> Ladder:
    """More FLOPs or energy left, if accuracy falls too far."""
    milder = [
        {"flops": int(config.flops * times)}
        if config.flops
        else {"energy": 1 - (1 - config.energy) * share}
        for times, share in ((2.0, 0.25), (1.5, 0.5), (1.25, 0.75))
    ]
    # every attempt begins with the input: the kernels of an attempt are products already
    return Ladder((*(config.model_copy(update=one) for one in milder), config), start=3)


def run(source: Artifact, config: Config, ctx: Context) -> Artifact:
    """Factorize the layers of `source`'s model that have fewer MACs that way, and train it."""
    import keras

    from pipeline.compress import lowrank
    from pipeline.graph import complexity, keras_file
    from pipeline.train import training

    keras.utils.set_random_seed(ctx.seed)
    model = keras_file.load(source.model_path)
    method, before = config.convolutions, complexity.profile(model).flops
    if config.flops is not None and config.flops < before:
        found = lowrank.within(model, config.flops, method)
    elif config.flops is not None:
        found = {}
    else:
        found = lowrank.factors(model, config.energy, method)
    made, history = model, {}
    if found:
        made = lowrank.replaced(model, found)
        log.info("factorize: %d layers; %s", len(found), _fall(before, made))
        given = config.model_dump(include={"epochs", "learning_rate"}, exclude_none=True)
        history = training.fit(
            made,
            ctx.data,
            Settings(**{**source.settings, **given, "fix_norms": False}),
            ctx.seed,
            training.Session.of("factorize", ctx),
        )
    else:
        log.info("factorize: no layer has fewer FLOPs as a product; nothing is replaced")
    layers = lowrank.rows(model, made, found, method)
    counts = {"flops_before": before, "flops_after": complexity.profile(made).flops}
    details = Details(history=history, layers=layers, **counts)
    family, arch = (None, None) if found else (source.family, source.arch)
    return ctx.save_keras(made, source, details=details, family=family, arch=arch)


def _fall(before: int, made: Any) -> str:
    from pipeline.graph import complexity

    return f"{complexity.profile(made).flops:,} FLOPs of {before:,} are left"
