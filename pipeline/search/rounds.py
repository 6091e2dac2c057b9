"""One round of a search: its oracle, and what its trials are told and leave."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.context import Context
from pipeline.search import trial
from pipeline.search.costs import Costs
from pipeline.search.oracles.base import Span
from pipeline.search.ranking import Row
from pipeline.search.space import Space
from pipeline.search.timing import Timing
from pipeline.system.files import write_atomic
from pipeline.train.checkpoint import CHECKPOINT
from pipeline.train.preprocessing import Preprocessing

PLAN = "epochs.json"


@dataclass(frozen=True)
class Plan:
    """How networks are proposed and trained.

    Attributes:
        oracle: Name of what proposes networks.
        epochs: Most epochs that a network is trained.
        against: The cost that is weighed against accuracy; None: accuracy alone counts.
        epoch_images: Training images of an epoch; None: all.
        grace: Epochs after which a network whose accuracy is still that of guessing stops.
        seconds: Time to search for; None: until the trials are used up.
        until: `time.monotonic()` by which the search should have chosen; None: no limit.
        in_slices: Whether networks are compared after equal times; otherwise after equal epochs.
        after: Networks that are quantized in that time once the trials have ended.
        preprocessing: What networks do to pixels first.
        fixed: Settings of training that all networks have.
        score: The score on val that ranks networks.
        workers: Trials that are trained at once.
        threads: Threads of each; None: as many as TensorFlow takes.
    """

    oracle: str
    epochs: int
    against: str | None = None
    epoch_images: int | None = None
    grace: int = 3
    seconds: float | None = None
    until: float | None = None
    in_slices: bool = False
    after: int = 0
    preprocessing: Preprocessing = "fixed"
    fixed: dict[str, Any] = field(default_factory=dict)
    score: str = "val_accuracy"
    workers: int = 1
    threads: int | None = None


@dataclass(frozen=True)
class Round:
    """The trials of one oracle."""

    oracle: Any
    prefix: str  # of the names of its trials
    seed: int
    plan: Plan
    space: Space
    costs: Costs
    ctx: Context
    time: Timing

    def task(self, proposed: Any) -> trial.Task:
        """What a trial is to train."""
        directory = self.oracle.trial_dir(proposed.trial_id)
        span = self.oracle.span(proposed)
        point = self.space.candidate(proposed.hyperparameters.values)
        parent = self.oracle.trial_dir(span.parent) if span.parent else None
        epochs, is_part = self._epochs(directory, span, parent)
        more = {"grace": self.plan.grace, "epoch_images": self.plan.epoch_images} | self.plan.fixed
        return trial.Task(
            family=point.family,
            arch=point.arch.model_dump(mode="json"),
            settings=point.settings | {"epochs": self.plan.epochs if is_part else epochs} | more,
            seed=self.seed + int(self.oracle.origin(proposed)),
            directory=directory,
            parent=parent,
            first=span.first,
            last=span.last if is_part else None,
            preprocessing=self.plan.preprocessing,
            deadline=self.time.deadline(),
            seconds=self.time.slice(span),
            objective=self.ctx.objective,
            threads=self.plan.threads,
        )

    def _epochs(self, directory: Path, span: Span, parent: Path | None) -> tuple[int, bool]:
        """Epochs of a trial, and whether they are a part of one schedule over all epochs.

        Both are kept in a file: an interrupted trial can only resume with the same schedule.
        """
        if self.time.unit is not None:
            return self.plan.epochs, False
        plan = directory / PLAN
        if not plan.exists():
            epochs = self.time.affordable(span, span.parent and f"{self.prefix}{span.parent}")
            goes_on = parent is None or (parent / CHECKPOINT).exists()
            is_part = epochs == span.last - span.first and goes_on
            write_atomic(plan, json.dumps([epochs, is_part]))
        epochs, is_part = json.loads(plan.read_text(encoding="utf-8"))
        return int(epochs), bool(is_part)

    def row(self, ended: Any) -> Row:
        """Describe an ended trial for the report and MLflow."""
        point = self.space.candidate(ended.hyperparameters.values)
        span = self.oracle.span(ended)
        directory = self.oracle.trial_dir(ended.trial_id)
        result = trial.result(directory)
        last = span.first + result["epochs"]
        return {
            "trial_id": f"{self.prefix}{ended.trial_id}",
            "parent": span.parent and f"{self.prefix}{span.parent}",
            "first_epoch": span.first,
            "directory": str(directory.relative_to(self.ctx.directory)),
            "family": point.family,
            "arch": point.arch.model_dump(mode="json"),
            "settings": {**point.settings, **self.plan.fixed, "epochs": last},
            "epoch_images": self.plan.epoch_images,
            **self.costs.all_of(point.family, point.arch),
            "status": "COMPLETED" if result["error"] is None else "FAILED",
            **result,
        }

    def forget(self, kept: set[str]) -> None:
        """Delete the checkpoints of trials that will not be continued."""
        for ended in self.oracle.ended():
            if ended.trial_id not in kept:
                (self.oracle.trial_dir(ended.trial_id) / CHECKPOINT).unlink(missing_ok=True)
