"""The loop of a search: propose, train, record, until the trials or the time are used up."""

import json
import logging
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.context import Context
from pipeline.search import isolation, oracles, trial
from pipeline.search.costs import Costs
from pipeline.search.oracles.base import Span
from pipeline.search.prior import usual
from pipeline.search.ranking import Row, networks
from pipeline.search.space import Space, refined
from pipeline.system import progress
from pipeline.system.files import write_atomic
from pipeline.train.checkpoint import CHECKPOINT
from pipeline.train.preprocessing import Preprocessing

log = logging.getLogger("flopsmith")
FIRST, SECOND = "trials", "refined"  # directories of the two rounds
PLAN = "epochs.json"
SAFETY = 0.9  # share of the time left that plans may use: epochs vary in length
SECOND_SEED = 10_000  # added to the seed in the second round
KNOWN_AFTER = 3  # trials whose times are averaged; the first alone is slower than the others
REFINED_FROM = 3  # networks around which the second round searches


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
        preprocessing: What networks do to pixels first.
        fixed: Settings of training that all networks have.
        score: The score on val that ranks networks.
    """

    oracle: str
    epochs: int
    against: str | None = None
    epoch_images: int | None = None
    grace: int = 3
    seconds: float | None = None
    preprocessing: Preprocessing = "fixed"
    fixed: dict[str, Any] = field(default_factory=dict)
    score: str = "val_accuracy"


@dataclass
class Searcher:
    """One search; `rows` has an entry per ended trial, `tally` counts the reasons of refusals."""

    space: Space
    costs: Costs
    ctx: Context
    plan: Plan
    rows: list[Row] = field(default_factory=list)
    tally: Counter[str] = field(default_factory=Counter)
    admitted: int = 0
    refused: int = 0
    _around: list[float] = field(default_factory=list)  # seconds per trial outside its process
    _began: float = field(default_factory=time.monotonic)
    _until: float | None = None  # seconds of the search at which the round ends
    _before: float = 0.0  # seconds that an interrupted run spent

    def run(self, trials: int, refine: bool) -> None:
        """Search; with `refine`, spend half of the trials around the best of the first half."""
        whole = self.space.hyperparameters()
        halves = 2 if refine and trials > 1 else 1
        self._until = None if self.plan.seconds is None else self.plan.seconds / halves
        first = self._round(FIRST, whole, trials - trials // 2 if halves > 1 else trials)
        best: dict[str, Any] = {}
        for ended in first.best_first(first.ended()):
            best.setdefault(_key(ended), ended.hyperparameters.values)
        if halves > 1 and best:
            self._until = self.plan.seconds
            small = refined(whole, list(best.values())[:REFINED_FROM])
            self._round(SECOND, small, trials // 2)

    def acceptance(self) -> str:
        """Tell how many points drawn by the oracle fit the budget, and why others were refused."""
        drawn = self.admitted + self.refused
        text = f"{self.admitted} of {drawn} points drawn fit the budget"
        reasons = ", ".join(f"{name} {count}" for name, count in self.tally.most_common())
        return f"{text}; refused for {reasons}" if reasons else text

    def why(self) -> str:
        """Tell why no trial completed: the last error, or why every point was refused."""
        if self._left() <= 0 and not self.rows:
            return "The time was up before the first. Raise search.minutes"
        if self.rows:
            return f"The last: {self.rows[-1]['error'].strip().splitlines()[-1]}"
        return f"{self.acceptance()}. Loosen these bounds, or add families"

    def _round(self, name: str, hyperparameters: Any, trials: int) -> Any:
        oracle = oracles.load(self.plan.oracle)(
            hyperparameters,
            self._fits,
            self.ctx.directory / name,
            trials=trials,
            epochs=self.plan.epochs,
            seed=self._seed(name),
            against=self.plan.against,
            may_fit=self._may_fit,
        )
        more = self.plan.epochs, self.plan.epoch_images
        oracle.prior = usual(hyperparameters, self.ctx.data, *more)
        oracle.size = self._flops if self.ctx.budget.upper else None
        prefix = "" if name == FIRST else f"{name}-"
        for ended in oracle.ended():
            self._record(self._row(oracle, ended, prefix), resumed=True)
        while not self._late(oracle) and (proposed := oracle.propose()) is not None:
            began = time.monotonic()
            self._train(oracle, proposed, prefix)
            row = self._row(oracle, proposed, prefix)
            self._around.append(time.monotonic() - began - row["seconds"])
            counted = ("val_loss", *([self.plan.against] if self.plan.against else []))
            # oracles call what they maximize by the name of the default
            names = {"val_accuracy": self.plan.score, **{name: name for name in counted}}
            scores = {key: row[name] for key, name in names.items()} if not row["error"] else None
            oracle.finish(proposed, scores, row["error"])
            self._record(row, resumed=False)
            self._forget(oracle, oracle.promotable())
        self._forget(oracle, set())
        tried = sum(oracle.span(trial).parent is None for trial in oracle.ended())
        if tried < trials and self._left() > 0:
            log.warning("search: found no more than %d of %d networks that fit", tried, trials)
        self.admitted += oracle.admitted
        self.refused += oracle.refused
        return oracle

    def _fits(self, values: Mapping[str, Any]) -> bool:
        return self._judge(values, self.costs.broken_by)

    def _may_fit(self, values: Mapping[str, Any]) -> bool:
        return self._judge(values, self.costs.surely_broken_by)

    def _judge(self, values: Mapping[str, Any], broken_by: Callable[..., list[str]]) -> bool:
        """Whether a point fits. When time is up none does, which ends the proposals."""
        if self._left() <= 0:
            return False
        point = self.space.candidate(values)
        try:
            broken = broken_by(point.family, point.arch)
        # A family that cannot build what it samples costs its points, not the search.
        except Exception as error:  # noqa: BLE001
            log.warning("search: a network of %s cannot be counted: %s", point.family, error)
            broken = [f"an error of {point.family}"]
        self.tally.update(broken)
        return not broken

    def _flops(self, values: Mapping[str, Any]) -> float:
        point = self.space.candidate(values)
        return self.costs.of(point.family, point.arch)["flops"]

    def _left(self) -> float:
        """Seconds of the round that are left."""
        return math.inf if self._until is None else self._until - self.spent()

    def _late(self, oracle: Any) -> bool:
        """Whether there is no time for a trial; tells the oracle to hurry where time is short."""
        if self._until is None:
            return False
        start, each = self._pace(None)
        best = networks(self.rows, self.plan.score)
        last = self._pace(best[0]["trial_id"]) if best else (start, each)
        for oracle.haste in (0, 1, 2) if len(self.rows) >= KNOWN_AFTER else (0,):
            ahead = oracle.ahead()
            if ahead is None:
                break
            seconds = start + each * ahead[0] + last[0] + last[1] * ahead[1]
            if seconds < SAFETY * self._left():
                break
        return self._left() <= start + each

    def _seed(self, name: str) -> int:
        """The seed of a round; the second has another, so that it draws other points."""
        return self.ctx.seed + (0 if name == FIRST else SECOND_SEED)

    def _pace(self, trial_id: str | None) -> tuple[float, float]:
        """Seconds to start a trial, and of an epoch: of the trial given, or on average."""
        trained = [row for row in self.rows if row["history"]]
        trained = [row for row in trained if row["trial_id"] == trial_id] or trained
        if not trained:
            return 0.0, 0.0
        each = statistics.mean(row["epoch_seconds"] for row in trained)
        rest = [r["seconds"] - r["epoch_seconds"] * len(r["history"]["val/loss"]) for r in trained]
        around = statistics.median_low(self._around) if self._around else 0.0
        return max(statistics.mean(rest) + around, 0.0), each

    def _plan(
        self, directory: Path, span: Span, parent: Path | None, prefix: str
    ) -> tuple[int, bool]:
        """Epochs of a trial, and whether they are a part of one schedule over all epochs.

        Both are kept in a file: an interrupted trial can only resume with the same schedule.
        """
        plan = directory / PLAN
        if not plan.exists():
            epochs = self._affordable(span, span.parent and f"{prefix}{span.parent}")
            goes_on = parent is None or (parent / CHECKPOINT).exists()
            is_part = epochs == span.last - span.first and goes_on
            write_atomic(plan, json.dumps([epochs, is_part]))
        epochs, is_part = json.loads(plan.read_text(encoding="utf-8"))
        return int(epochs), bool(is_part)

    def _affordable(self, span: Span, parent: str | None) -> int:
        """Epochs of a trial: fewer if time is short, so that its schedule is completed."""
        wanted = span.last - span.first
        start, each = self._pace(parent)
        if self._until is None or not each:
            return wanted
        return max(1, min(wanted, int((SAFETY * self._left() - start) / each)))

    def spent(self) -> float:
        """Seconds of this search, those of an interrupted run's trials included."""
        return time.monotonic() - self._began + self._before

    def _train(self, oracle: Any, proposed: Any, prefix: str) -> None:
        """Train a network in a process of its own; writes a failure result if that crashes."""
        directory = oracle.trial_dir(proposed.trial_id)
        span = oracle.span(proposed)
        point = self.space.candidate(proposed.hyperparameters.values)
        parent = oracle.trial_dir(span.parent) if span.parent else None
        epochs, is_part = self._plan(directory, span, parent, prefix)
        more = {"grace": self.plan.grace, "epoch_images": self.plan.epoch_images} | self.plan.fixed
        task = trial.Task(
            family=point.family,
            arch=point.arch.model_dump(mode="json"),
            settings=point.settings | {"epochs": self.plan.epochs if is_part else epochs} | more,
            seed=self._seed(directory.parent.name) + int(oracle.origin(proposed)),
            directory=directory,
            parent=parent,
            first=span.first,
            last=span.last if is_part else None,
            preprocessing=self.plan.preprocessing,
            deadline=None if self._until is None else time.monotonic() + self._left(),
            objective=self.ctx.objective,
        )
        options = {"task": task, "dataset": self.ctx.data}
        began = time.perf_counter()
        with progress.bar(directory.name, span.last if is_part else epochs) as advance:
            try:
                isolation.call(
                    trial.run, options, directory, lambda e: advance(progress.note(e[1]), e[0])
                )
            except isolation.CrashError as error:
                trial.fail(directory, str(error), time.perf_counter() - began, epochs)

    def _forget(self, oracle: Any, kept: set[str]) -> None:
        """Delete the checkpoints of trials that will not be continued."""
        for ended in oracle.ended():
            if ended.trial_id not in kept:
                (oracle.trial_dir(ended.trial_id) / CHECKPOINT).unlink(missing_ok=True)

    def _record(self, row: Row, resumed: bool) -> None:
        self.rows.append(row)
        self._before += row["seconds"] if resumed else 0.0
        self.ctx.log.trial(row)
        log.info("search: trial %s %s", row["trial_id"], _summary(row, self.plan.score))

    def _row(self, oracle: Any, ended: Any, prefix: str) -> Row:
        """Describe an ended trial for the report and MLflow."""
        point = self.space.candidate(ended.hyperparameters.values)
        span = oracle.span(ended)
        directory = oracle.trial_dir(ended.trial_id)
        result = trial.result(directory)
        last = span.first + result["epochs"]
        return {
            "trial_id": f"{prefix}{ended.trial_id}",
            "parent": span.parent and f"{prefix}{span.parent}",
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


def _key(ended: Any) -> str:
    """Identify the network of a trial: equal for all trials of the same network."""
    values = ended.hyperparameters.values.items()
    return json.dumps({k: v for k, v in values if not k.startswith("tuner/")}, sort_keys=True)


def _summary(row: Row, score: str) -> str:
    if row["error"]:
        return f"FAILED: {row['error'].strip().splitlines()[-1]}"
    return (
        f"{row['family']} {score}={row[score]:.4f} flops={row['flops']:,} seconds={row['seconds']}"
    )
