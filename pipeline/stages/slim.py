"""Slim: remove the least important channels, down to a FLOPs target, then train the rest.

Reads:   a trained Keras model.
Writes:  a narrower one, with fewer FLOPs, bytes and milliseconds; it has no arch any more.
Why:     zeros make a file smaller, but only fewer channels make it faster.
Source:  Li et al. 2017, https://arxiv.org/abs/1608.08710; with a penalty, Liu et al. 2017,
         https://arxiv.org/abs/1708.06519; widened again, Gordon et al. 2018,
         https://arxiv.org/abs/1711.06798.
"""

import dataclasses
import json
import logging
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from pipeline.artifact import Artifact
from pipeline.budget import Count
from pipeline.context import Context
from pipeline.details import Details
from pipeline.stage import Ladder, StageConfig
from pipeline.system.files import write_atomic
from pipeline.train.settings import Settings

NARROWED = "narrowed.keras"  # the narrowed model, from which an interrupted run continues
REMOVED = "removed.png"  # what some of the removed channels had looked for
NAMES = "removed.json"  # which ones

log = logging.getLogger("flopsmith")


class Config(StageConfig):
    """The `slim:` section of a recipe."""

    before: ClassVar[tuple[str, ...]] = ("prune", "cluster")

    flops: Count | None = Field(
        None, gt=0, description="Most FLOPs of the result; none: the fraction `keep`"
    )
    keep: float = Field(0.5, gt=0, le=1, description="Fraction of the FLOPs that is left")
    score: Literal["l1", "l2", "gamma"] | None = Field(
        None,
        description="Importance of a channel: l1 or l2 norm of its kernels, or gamma of its batch "
        "normalizations; none: gamma with penalize, l2 without",
    )
    divisor: int = Field(
        8, ge=1, description="Widths are multiples of it; in narrow layers, of its half or quarter"
    )
    penalize: bool = Field(
        False, description="First train with a penalty that leaves few channels a large gamma"
    )
    penalty: float = Field(
        1e-3, gt=0, description="With penalize: the loss grows by this times the sum of |gamma|"
    )
    penalty_epochs: int = Field(4, ge=1, description="Epochs of training with the penalty")
    expand: float = Field(
        1.0,
        ge=1,
        description="First shrink to the target divided by this, then widen all layers alike up to "
        "the target; 1: only shrink",
    )
    epochs: int = Field(10, ge=1, description="Epochs of training the narrower network")
    learning_rate: float | None = Field(
        None, gt=0, description="Peak learning rate; none: that found in the search"
    )

    @model_validator(mode="after")
    def _penalized_is_gamma(self) -> Self:
        if self.penalize and self.score not in (None, "gamma"):
            raise ValueError(
                "the penalty acts on gamma, which the score does not look at. Received: "
                f"penalize=True, score={self.score!r}. Leave score out, or penalize"
            )
        return self


def ladder(config: Config) -> Ladder:
    """More FLOPs left, if accuracy falls too far."""
    milder = [
        {"flops": int(config.flops * times)}
        if config.flops
        else {"keep": 1 - (1 - config.keep) * share}
        for times, share in ((2.0, 0.25), (1.5, 0.5), (1.25, 0.75))
    ]
    rungs = (*(config.model_copy(update=one) for one in milder), config)
    return Ladder(rungs, start=3, goes_on=_goes_on)


def _goes_on(held: Config, wanted: Config) -> bool:
    """Whether more channels are to go, and neither a penalty nor a widening comes before that."""
    fewer = {"flops": wanted.flops, "keep": wanted.keep}
    alone = not wanted.penalize and wanted.expand == 1
    return alone and held.model_copy(update=fewer) == wanted


def run(source: Artifact, config: Config, ctx: Context) -> Artifact:
    """Narrow `source`'s model to `config.flops`, or to a share of its FLOPs, and train it."""
    import keras

    from pipeline.compress import slimming
    from pipeline.graph import channels, complexity, keras_file
    from pipeline.train import course, training

    keras.utils.set_random_seed(ctx.seed)
    model = keras_file.load(source.model_path)
    origin = ctx.origin(source)
    whole = model if origin is source else keras_file.load(origin.model_path)
    before = complexity.profile(whole).flops
    target = min(config.flops or int(config.keep * before), before)
    given = config.model_dump(include={"epochs", "learning_rate"}, exclude_none=True)
    settings = Settings(**{**source.settings, **given, "fix_norms": False})
    narrowed, file = model, ctx.directory / NARROWED
    history: course.History = {}
    if target == before:
        log.info("slim: the network already has %s FLOPs; nothing is removed", f"{before:,}")
    elif file.exists():
        narrowed = keras_file.load(file)
    else:
        history = _penalized(model, settings, config, ctx)
        narrowed = _narrowed(model, target, config, ctx)
        partial = file.with_stem("partial")
        narrowed.save(partial)
        partial.replace(file)  # a run that is interrupted finds it whole, or not at all
    after = complexity.profile(narrowed).flops
    if after < before:
        log.info("slim: %s FLOPs of %s are left", f"{after:,}", f"{before:,}")
        session = dataclasses.replace(
            training.Session.of("slim", ctx),
            on_epoch=lambda epoch, point: ctx.curve(epoch + _length(history), point),
        )
        found = training.fit(narrowed, ctx.data, settings, ctx.seed, session)
        history = {curve: [*history.get(curve, []), *found[curve]] for curve in found}
    counts = {"flops_before": before, "flops_after": after, "flops_target": target}
    rows = slimming.rows(channels.find(whole), narrowed)
    names = ctx.directory / NAMES
    shown = json.loads(names.read_text(encoding="utf-8")) if names.exists() else []
    details = Details(history=history, layers=rows, removed_channels=shown, **counts)
    family, arch = (source.family, source.arch) if after == before else (None, None)
    artifact = ctx.save_keras(narrowed, source, details=details, family=family, arch=arch)
    file.unlink(missing_ok=True)
    if (ctx.directory / REMOVED).exists():
        ctx.log.file(ctx.directory / REMOVED)
    return artifact


def _penalized(model: Any, settings: Settings, config: Config, ctx: Context) -> dict[str, Any]:
    """Train with the penalty on gamma, if it is wanted; the last epoch counts."""
    from pipeline.compress import slimming
    from pipeline.train import training

    if not config.penalize:
        return {}
    epochs = config.penalty_epochs
    with slimming.penalized(model, config.penalty):
        return training.fit(
            model,
            ctx.data,
            settings.model_copy(update={"epochs": epochs, "settle": epochs - 1, "patience": None}),
            ctx.seed,
            training.Session("penalize", ctx.curve, deadline=ctx.until, objective=ctx.objective),
        )


def _narrowed(model: Any, target: int, config: Config, ctx: Context) -> Any:
    """The model with its most important channels alone."""
    from pipeline.compress import slimming, surgery
    from pipeline.graph import channels, importance

    found = channels.find(model)
    score = config.score or ("gamma" if config.penalize else "l2")
    ranks = importance.scores(found, score)
    copies = slimming.choose(found, ranks, target, config.divisor, config.expand)
    _draw(model, slimming.removed(found, ranks, copies), ctx)
    return surgery.resized(found, copies, slimming.NOISE, ctx.seed)


def _draw(model: Any, gone: dict[str, list[int]], ctx: Context) -> None:
    """Leave a picture of what some of the removed channels had looked for, for the report."""
    from pipeline.data import stream
    from pipeline.explain import removed
    from pipeline.train import augmented

    images, _ = stream.batch(ctx.data.val, removed.IMAGES, ctx.seed)
    if len(images) >= removed.COLUMNS and (shown := removed.patches(model, gone, images)):
        write_atomic(ctx.directory / REMOVED, augmented.png(shown[1]))
        write_atomic(ctx.directory / NAMES, json.dumps(shown[0]))


def _length(history: dict[str, list[float]]) -> int:
    return len(history.get("train/loss", []))
