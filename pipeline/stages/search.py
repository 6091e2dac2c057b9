"""Search: find a network and training settings under the budget.

Reads:   nothing; the data and the budget.
Writes:  the best network, as trained in its trial; all trials.
Why:     the network decides accuracy and cost more than any compression after it.
Source:  random search, Bergstra & Bengio 2012, https://jmlr.org/papers/v13/bergstra12a.html.
"""

import logging
import shutil
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator

from pipeline.artifact import Artifact
from pipeline.budget import Budget
from pipeline.data import Dataset
from pipeline.errors import PipelineError
from pipeline.stage import Context, Kind, StageConfig
from pipeline.training import Optimizer
from search_spaces import families

log = logging.getLogger("flopsmith")
Rate = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
DEFAULT_FAMILIES = ("mobilenet", "mobilenet_v1", "resnet")  # those that every later stage takes


class Config(StageConfig):
    """The `search:` section of a recipe."""

    needs: ClassVar[tuple[Kind, ...]] = ("nothing",)

    trials: int = Field(12, ge=1, description="Networks to train")
    epochs: int = Field(6, ge=1, description="Epochs per trial")
    families: tuple[str, ...] = Field(
        DEFAULT_FAMILIES, min_length=1, description="Architecture families to search"
    )
    optimizers: tuple[Optimizer, ...] = Field(
        ("adam", "momentum"), min_length=1, description="Update rules to search"
    )
    learning_rates: tuple[Rate, Rate] = Field(
        (5e-4, 1e-2), description="Range searched for adaptive optimizers; ten times that for SGD"
    )
    batch_sizes: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        (16, 32), min_length=1, description="Images per update to search"
    )

    @field_validator("learning_rates")
    @classmethod
    def _ascend(cls, rates: tuple[float, float]) -> tuple[float, float]:
        if rates[0] > rates[1]:
            raise ValueError("the first learning rate must not be above the second")
        return rates

    @field_validator("families")
    @classmethod
    def _exist(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in names if name not in families()]:
            raise ValueError(f"unknown family {unknown[0]!r}. Known: {', '.join(families())}")
        return names


def check(config: Config, dataset: Dataset, budget: Budget, targets: tuple[str, ...]) -> None:
    """Refuse a budget that no network can keep, before anything is trained."""
    from pipeline.space import Costs

    Costs(dataset.image_shape, dataset.num_classes).fitting(config.families, budget, targets)


def run(source: Artifact, config: Config, ctx: Context) -> Artifact:
    """Train `config.trials` networks that fit the budget; pass on the best on val."""
    from pipeline import trial
    from pipeline.oracle import RandomOracle
    from pipeline.space import Costs, Space

    costs = Costs(ctx.data.image_shape, ctx.data.num_classes)
    kept = costs.fitting(config.families, ctx.budget, ctx.targets)
    settings = config.model_dump(exclude={"trials", "families"})
    space = Space(**settings, families=kept, targets=ctx.targets)
    if out := set(config.families) - set(kept):
        log.warning(
            "search: no network of %s fits the budget and the targets", ", ".join(sorted(out))
        )

    def fits(values: Any) -> bool:
        point = space.candidate(values)
        return not ctx.budget.broken_by(costs.of(point.family, point.arch))

    def finished(proposed: Any, resumed: bool) -> dict[str, Any]:
        """Train a trial, or read what it left; a row for the report."""
        point = space.candidate(proposed.hyperparameters.values)
        arch = point.arch.model_dump(mode="json")
        directory = oracle.trial_dir(proposed)
        seed = ctx.seed + int(proposed.trial_id)
        result = trial.run(
            point.family, arch, point.settings, ctx.data, seed=seed, directory=directory
        )
        if not resumed:
            oracle.finish(proposed, result["val_accuracy"], result["error"])
        row = {
            "trial_id": proposed.trial_id,
            "family": point.family,
            "arch": arch,
            "settings": point.settings,
            **costs.of(point.family, point.arch),
            "status": "COMPLETED" if result["error"] is None else "FAILED",
            **result,
        }
        ctx.log.trial(row)
        log.info("search: trial %s of %d %s", proposed.trial_id, config.trials, _summary(row))
        return row

    oracle = RandomOracle(
        space.hyperparameters(),
        fits,
        ctx.directory / "trials",
        max_trials=config.trials,
        seed=ctx.seed,
    )
    rows = [finished(proposed, resumed=True) for proposed in oracle.ended()]
    while (proposed := oracle.propose()) is not None:
        rows.append(finished(proposed, resumed=False))
    log.info("search: %d points over the budget were refused unseen", oracle.refused)

    best = _best(rows)
    shutil.copyfile(
        ctx.directory / "trials" / f"trial_{best['trial_id']}" / trial.MODEL,
        ctx.directory / trial.MODEL,
    )
    return ctx.done(
        source,
        model_file=trial.MODEL,
        family=best["family"],
        arch=best["arch"],
        settings=best["settings"],
        details={
            "trials": rows,
            "winner": best["trial_id"],
            "refused": oracle.refused,
            "budget": ctx.budget.model_dump(exclude_none=True),
        },
    )


def _best(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Highest val accuracy; of equals, the fewest FLOPs."""
    completed = [row for row in rows if row["status"] == "COMPLETED"]
    if not completed:
        last = rows[-1]["error"].strip().splitlines()[-1] if rows else "no point fits the budget"
        raise PipelineError(f"search: no trial of {len(rows)} completed. The last: {last}")
    return min(completed, key=lambda row: (-row["val_accuracy"], row["flops"]))


def _summary(row: dict[str, Any]) -> str:
    if row["error"]:
        return f"FAILED: {row['error'].strip().splitlines()[-1]}"
    return (
        f"{row['family']} val_accuracy={row['val_accuracy']:.4f} flops={row['flops']:,} "
        f"seconds={row['seconds']}"
    )
