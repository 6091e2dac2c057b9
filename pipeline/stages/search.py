"""Search: find a network and training settings under the budget.

Reads:   the data and the budget; no model.
Writes:  the best network, with the weights of its trial, and a table of all trials.
Why:     the network decides accuracy and cost more than any compression after it.
Source:  Hyperband, Li et al. 2018, https://jmlr.org/papers/v18/16-558.html; each of
         `pipeline/search/oracles/` names its own.
"""

import dataclasses
import logging
import shutil
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from pipeline.artifact import Artifact
from pipeline.budget import Budget
from pipeline.context import Context
from pipeline.data.augment.strength import Augmentation
from pipeline.data.datasets import DataConfig, Dataset
from pipeline.details import Details
from pipeline.errors import PipelineError, RecipeError
from pipeline.search import oracles
from pipeline.stage import Kind, StageConfig
from pipeline.train.preprocessing import Preprocessing
from pipeline.train.settings import ClassWeights, Optimizer, Sampling, Schedule, Settings
from search_spaces import families

if TYPE_CHECKING:
    from pipeline.search.loop import Searcher

log = logging.getLogger("flopsmith")
Rate = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Value = str | int | float | bool
DEFAULT_FAMILIES = ("mobilenet", "mobilenet_v1", "resnet")  # every later stage can process them


class Config(StageConfig):
    """The `search:` section of a recipe."""

    needs: ClassVar[tuple[Kind, ...]] = ("nothing",)
    timed: ClassVar[tuple[str, ...]] = ("trials",)

    oracle: str = Field(
        "hyperband", description="What proposes networks: hyperband, random, bayesian, evolution"
    )
    trials: int = Field(12, ge=1, description="How many networks are trained")
    epochs: int = Field(
        6, ge=1, description="Epochs that a trial trains; with hyperband, those of the best"
    )
    epoch_images: int | None = Field(
        None, ge=1, description="Training images of an epoch, for large data sets; none: all"
    )
    minutes: float | None = Field(
        None,
        gt=0,
        description="Minutes of search, after which no new trial begins and the running one is "
        "shortened; none: no limit",
    )
    refine: bool = Field(
        False, description="Spend half of the trials on networks similar to the best three"
    )
    objective: Literal["accuracy", "pareto"] = Field(
        "accuracy", description="accuracy: the recipe's objective ranks; pareto: it and a cost do"
    )
    against: Literal["flops", "params", "tflite_bytes", "latency_ms"] = Field(
        "flops", description="The cost that pareto weighs: flops, params, tflite_bytes, latency_ms"
    )
    finalists: int = Field(
        3,
        ge=1,
        description="How many of the best networks are quantized to choose the winner by int8 "
        "accuracy; 1: the winner is the network with the best float accuracy",
    )
    grace: int = Field(
        3, ge=1, description="Epochs after which a trial stops if its network still only guesses"
    )
    families: tuple[str, ...] = Field(
        DEFAULT_FAMILIES, min_length=1, description="Architecture families to search"
    )
    choices: dict[str, tuple[Value, ...]] = Field(
        {},
        description="Limit what a family may choose from: `{init: [lsuv], resnet/width: [8]}`",
    )
    optimizers: tuple[Optimizer, ...] = Field(
        ("adam", "adamw", "nesterov", "momentum", "rmsprop"),
        min_length=1,
        description="Optimizers to search",
    )
    learning_rates: tuple[Rate, Rate] = Field(
        (5e-4, 1e-2), description="Range searched for adaptive optimizers; ten times that for SGD"
    )
    schedules: tuple[Schedule, ...] = Field(
        ("cosine",), min_length=1, description="Learning rate schedules to search"
    )
    warmups: tuple[Annotated[float, Field(ge=0, le=0.5)], ...] = Field(
        (0.0, 0.1),
        min_length=1,
        description="Fractions of the steps with a rising learning rate, to search",
    )
    penalties: tuple[Literal["none", "weight_decay", "l2", "l1"], ...] = Field(
        ("none", "weight_decay", "l2"),
        min_length=1,
        description="Regularization of weights to search",
    )
    penalty_strengths: tuple[Rate, Rate] = Field(
        (1e-5, 1e-3), description="Range searched for its factor"
    )
    label_smoothings: tuple[Fraction, ...] = Field(
        (0.0, 0.1), min_length=1, description="Fractions of label smoothing to search"
    )
    clip_norms: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        (0.0,), min_length=1, description="Largest norms of the gradient to search; 0: no clipping"
    )
    batch_sizes: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        (16, 32, 64), min_length=1, description="Images per update to search"
    )
    augmentations: tuple[Augmentation, ...] = Field(
        ("none", "light", "medium"), min_length=1, description="Strengths of augmentation to search"
    )
    flips: tuple[bool, ...] = Field(
        (False,),
        min_length=1,
        description="Whether training images are mirrored at random, to search",
    )
    class_weights: ClassWeights = "none"
    sampling: Sampling = "shuffled"
    preprocessing: Preprocessing = Field(
        "fixed",
        description="Statistics of the training images that pixels are scaled with: fixed, "
        "mean_std, channel_mean, channel_mean_std, mean_image",
    )

    @field_validator("learning_rates", "penalty_strengths")
    @classmethod
    def _ascend(cls, ends: tuple[float, float]) -> tuple[float, float]:
        if ends[0] > ends[1]:
            raise ValueError("the first value must not be above the second")
        return ends

    @field_validator("oracle")
    @classmethod
    def _is_there(cls, name: str) -> str:
        if name not in oracles.names():
            raise ValueError(f"unknown oracle {name!r}. Known: {', '.join(oracles.names())}")
        return name

    @field_validator("families")
    @classmethod
    def _exist(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in names if name not in families()]:
            raise ValueError(f"unknown family {unknown[0]!r}. Known: {', '.join(families())}")
        return names


def images(
    config: Config, data: DataConfig, seed: int, budget: Budget, targets: tuple[str, ...]
) -> DataConfig:
    """Choose a size of images that the budget leaves room for, where the recipe names none."""
    if data.image_size is not None or not budget.upper:
        return data
    from pipeline.search import sizes

    space = _space(config, config.families, targets)
    space.check()
    return sizes.chosen(data, seed, space, budget)


def check(config: Config, dataset: Dataset, budget: Budget, targets: tuple[str, ...]) -> None:
    """Refuse a budget that no network can keep, before anything is trained."""
    from pipeline.pretrained import family
    from pipeline.search import sizes
    from pipeline.search.costs import Costs

    space = _space(config, config.families, targets)
    space.check()
    family.check(config.families, dataset.image_shape[-1])
    if config.preprocessing != "fixed" and "pretrained" in config.families:
        raise RecipeError(
            "search.preprocessing: trained networks have their own. Received: "
            f"{config.preprocessing}, with the family pretrained. Leave one of them out"
        )
    costs = Costs(dataset.image_shape, dataset.num_classes, budget)

    def smaller() -> str | None:
        *own, channels = dataset.image_shape
        size = sizes.suitable((own[0], own[1]), channels, dataset.num_classes, space, budget)
        return size and sizes.setting(size)

    costs.fitting(config.families, targets, space.cheapest, smaller)


def _searcher(config: Config, ctx: Context) -> "Searcher":
    """The search, over those of the families that have a network within the budget."""
    from pipeline.search.costs import Costs
    from pipeline.search.loop import Plan, Searcher

    against = config.against if config.objective == "pareto" else None
    costs = Costs(
        ctx.data.image_shape,
        ctx.data.num_classes,
        ctx.budget,
        ctx.directory,
        extra=(against,) if against else (),
    )
    whole = _space(config, config.families, ctx.targets)
    kept = costs.fitting(config.families, ctx.targets, whole.cheapest)
    if out := set(config.families) - set(kept):
        log.warning(
            "search: no network of %s fits the budget and the targets", ", ".join(sorted(out))
        )
    same = {"oracle", "epochs", "epoch_images", "grace", "preprocessing"}
    plan = Plan(
        **config.model_dump(include=same),
        against=against,
        seconds=config.minutes and config.minutes * 60,
        until=ctx.until,
        after=config.finalists if config.finalists > 1 else 0,
        fixed=config.model_dump(include={"class_weights", "sampling"}, exclude_defaults=True),
        score=f"val_{ctx.objective}",
    )
    return Searcher(dataclasses.replace(whole, families=kept), costs, ctx, plan)


def run(source: Artifact, config: Config, ctx: Context) -> Artifact:
    """Train networks that fit the budget; pass on the one that is best in int8."""
    from pipeline.search import finalists, trial
    from pipeline.search.ranking import networks, trade_offs
    from pipeline.train import augmented

    search = _searcher(config, ctx)
    open_ended = ctx.until is not None and "trials" in config.left_to_time()
    search.run(None if open_ended else config.trials, config.refine)
    log.info("search: %s", search.acceptance())
    found = networks(search.rows, search.plan.score)
    if not found:
        raise PipelineError(f"search: no trial of {len(search.rows)} completed. {search.why()}")
    notes = {"note": said} if (said := _guessing(found[0], len(search.rows), ctx)) else {}
    front = trade_offs(search.rows, search.plan.against or "flops", search.plan.score)
    best = found[: config.finalists]
    if config.finalists > 1:
        best = finalists.ranked(best, ctx.directory, ctx.data, ctx.seed, ctx.budget, ctx.objective)
        for row in best:
            ctx.log.trial(row)
    winner = best[0]
    settings = Settings(**winner["settings"])
    if picture := augmented.write(settings, ctx.data, ctx.seed, ctx.directory):
        ctx.log.file(picture)
    shutil.copyfile(ctx.directory / winner["directory"] / trial.MODEL, ctx.directory / trial.MODEL)
    return ctx.done(
        source,
        model_file=trial.MODEL,
        family=winner["family"],
        arch=winner["arch"],
        settings=winner["settings"],
        details=Details(
            trials=search.rows,
            winner=winner["trial_id"],
            finalists=[row["trial_id"] for row in best],
            against=search.plan.against,
            front=[row["trial_id"] for row in front],
            search_seconds=round(search.time.spent(), 2),
            refused=search.refused,
            admitted=search.admitted,
            budget=ctx.budget.model_dump(exclude_none=True),
            **notes,
        ),
    )


def _guessing(best: Any, trials: int, ctx: Context) -> str:
    """Say that no trial has learned anything, where even the best only guesses; else empty."""
    from pipeline.measure.guessing import judged_on_val
    from pipeline.report.guessing import told

    scores = best["val_accuracy"], best[f"val_{ctx.objective}"]
    found = judged_on_val(scores[0], ctx.data, ctx.objective, scores[1])
    if found is None:
        return ""
    said = f"None of the {trials} trials has learned anything; of the best, {told(found)}."
    log.warning("search: %s", said)
    return said


def _space(config: Config, kept: tuple[str, ...], targets: tuple[str, ...]) -> Any:
    from pipeline.search.space import Space

    shared = {f.name for f in dataclasses.fields(Space)} & set(Config.model_fields)
    return Space(**{**config.model_dump(include=shared), "families": kept, "targets": targets})
