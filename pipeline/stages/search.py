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
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from pipeline.artifact import Artifact
from pipeline.budget import Budget
from pipeline.context import Context
from pipeline.data.datasets import DataConfig, Dataset
from pipeline.details import Details
from pipeline.errors import BudgetError, PipelineError, RecipeError
from pipeline.search import oracles
from pipeline.search.choices import Choices
from pipeline.stage import Kind
from pipeline.train.preprocessing import Preprocessing
from pipeline.train.settings import ClassWeights, Sampling, Settings
from search_spaces import families

if TYPE_CHECKING:
    from pipeline.search.costs import Costs
    from pipeline.search.loop import Searcher
    from pipeline.search.space import Space

log = logging.getLogger("flopsmith")
Value = str | int | float | bool
DEFAULT_FAMILIES = ("mobilenet", "mobilenet_v1", "resnet")  # every later stage can process them


class Config(Choices):
    """The `search:` section of a recipe."""

    needs: ClassVar[tuple[Kind, ...]] = ("nothing",)
    timed: ClassVar[tuple[str, ...]] = ("trials", "epochs")

    oracle: str = Field(
        "priorband",
        description="What proposes networks: priorband, hyperband, random, prior, bayesian, "
        "evolution",
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
    workers: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto",
        description="Trials that are trained at once, each with its share of the cores: auto, one "
        "for every core; the same seed gives the same trials for the same number of workers",
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
    transfer: bool = Field(
        True,
        description="Search networks with ImageNet weights as well, where these are installed, the "
        "images are photographs of 64 pixels a side or more, and the budget has room",
    )
    class_weights: ClassWeights = "none"
    sampling: Sampling = "shuffled"
    preprocessing: Preprocessing = Field(
        "fixed",
        description="Statistics of the training images that pixels are scaled with: fixed, "
        "mean_std, channel_mean, channel_mean_std, mean_image",
    )

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
    from pipeline.search import crew
    from pipeline.search.costs import Costs
    from pipeline.search.loop import Searcher
    from pipeline.search.rounds import Plan
    from pipeline.train import mirror

    against = config.against if config.objective == "pareto" else None
    extra = (against,) if against else ()
    shape, classes = ctx.data.image_shape, ctx.data.num_classes
    costs = Costs(shape, classes, ctx.budget, ctx.directory, extra=extra)
    whole = _space(config, config.families, ctx.targets)
    kept = costs.fitting(config.families, ctx.targets, whole.cheapest)
    if out := set(config.families) - set(kept):
        log.warning(
            "search: no network of %s fits the budget and the targets", ", ".join(sorted(out))
        )
    space = _with_transfer(config, ctx, costs, dataclasses.replace(whole, families=kept))
    same = {"oracle", "epochs", "epoch_images", "grace", "preprocessing"}
    if config.flips == "auto":
        space = dataclasses.replace(space, flips=(mirror.decided(ctx.data, ctx.seed),))
    is_timed = ctx.budget.latency_ms is not None or against == "latency_ms"
    workers, threads = crew.size(config.workers, config.trials, is_timed)
    plan = Plan(
        **config.model_dump(include=same),
        workers=workers,
        threads=threads,
        against=against,
        seconds=config.minutes and config.minutes * 60,
        until=ctx.until,
        in_slices=ctx.until is not None and "epochs" in config.left_to_time(),
        after=config.finalists if config.finalists > 1 else 0,
        fixed=config.model_dump(include={"class_weights", "sampling"}, exclude_defaults=True),
        score=f"val_{ctx.objective}",
    )
    return Searcher(space, costs, ctx, plan)


def _with_transfer(config: Config, ctx: Context, costs: "Costs", space: "Space") -> "Space":
    """Add networks that start from trained weights where they may win, and say so."""
    from pipeline.pretrained import family

    asked = config.transfer and family.FAMILY not in config.families
    if not asked or config.preprocessing != "fixed" or not family.suits(ctx.data.image_shape):
        return space
    both: Space = _space(config, (family.FAMILY, *space.families), ctx.targets)
    try:
        both.check()
        costs.fitting([family.FAMILY], ctx.targets, both.cheapest)
    except (BudgetError, RecipeError) as error:
        log.info("search: no network with ImageNet weights is tried: %s", error)
        return space
    log.info(
        "search: family %s is tried first, since these are photographs and ImageNet weights are "
        "installed (search.transfer: false leaves it out)",
        family.FAMILY,
    )
    return both


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
    log.info("search: best val of each family: %s", _by_family(found, search.plan.score))
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


def _by_family(found: Sequence[Any], score: str) -> str:
    """The best score of each family, the best family first; `found` is sorted so."""
    best: dict[str, float] = {}
    for row in found:
        best.setdefault(row["family"], row[score])
    return ", ".join(f"{name} {value:.4f}" for name, value in best.items())


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
    from pipeline.pretrained import family
    from pipeline.search.space import Space

    shared = {f.name for f in dataclasses.fields(Space)} & set(Config.model_fields)
    given = config.model_dump(include=shared)
    if config.flips == "auto":  # costs nothing to count
        given |= {"flips": (False,)}
    if family.FAMILY in kept:
        given["choices"] = family.installed(config.choices)
    return Space(**{**given, "families": kept, "targets": targets})
