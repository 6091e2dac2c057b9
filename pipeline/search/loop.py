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

from pipeline.search import isolation, oracles, trial
from pipeline.search.costs import Costs
from pipeline.search.oracles.base import Span
from pipeline.search.ranking import Row, networks
from pipeline.search.space import Space, refined
from pipeline.stage import Context
from pipeline.system import progress
from pipeline.system.files import write_atomic
from pipeline.train.checkpoint import CHECKPOINT
from pipeline.train.preprocessing import Preprocessing

log = logging.getLogger("flopsmith")
FIRST, SECOND = "trials", "refined"  # directories of the two rounds
PLAN = "epochs.json"
SAFETY = 0.9  # of the time that is left is planned with
SECOND_SEED = 10_000  # added to the seed in the second round
KNOWN_AFTER = 3  # trials; the first of a process is slower than the others
REFINED_FROM = 3  # networks around which the second round searches


@dataclass
class Searcher:
    """One search; `rows` has an entry per ended trial, `tally` what points were refused for."""

    space: Space
    costs: Costs
    ctx: Context
    oracle: str
    epochs: int
    against: str | None  # the cost that is weighed against accuracy
    epoch_images: int | None  # training images of an epoch; None: all
    grace: int  # epochs after which a network that is still at chance stops
    seconds: float | None  # to search for; None: until the trials are used up
    preprocessing: Preprocessing = "fixed"
    rows: list[Row] = field(default_factory=list)
    tally: Counter[str] = field(default_factory=Counter)
    admitted: int = 0
    refused: int = 0
    _around: list[float] = field(default_factory=list)  # seconds per trial outside of it
    _began: float = field(default_factory=time.monotonic)
    _until: float | None = None  # seconds of the search at which the round ends
    _before: float = 0.0  # seconds that an interrupted run spent

    def run(self, trials: int, refine: bool) -> None:
        """Search once, or a second time around the best of the first round."""
        whole = self.space.hyperparameters()
        halves = 2 if refine and trials > 1 else 1
        self._until = None if self.seconds is None else self.seconds / halves
        first = self._round(FIRST, whole, trials - trials // 2 if halves > 1 else trials)
        best: dict[str, Any] = {}
        for ended in first.best_first(first.ended()):
            best.setdefault(_key(ended), ended.hyperparameters.values)
        if halves > 1 and best:
            self._until = self.seconds
            small = refined(whole, list(best.values())[:REFINED_FROM])
            self._round(SECOND, small, trials // 2)

    def acceptance(self) -> str:
        """How many of the points that were drawn fitted, and what refused the others."""
        drawn = self.admitted + self.refused
        text = f"{self.admitted} of {drawn} points drawn fit the budget"
        reasons = ", ".join(f"{name} {count}" for name, count in self.tally.most_common())
        return f"{text}; refused for {reasons}" if reasons else text

    def why(self) -> str:
        """Why no trial completed: the last error, or what refused every point."""
        if self._left() <= 0 and not self.rows:
            return "The time was up before the first. Raise search.minutes"
        if self.rows:
            return f"The last: {self.rows[-1]['error'].strip().splitlines()[-1]}"
        return f"{self.acceptance()}. Loosen these bounds, or add families"

    def _round(self, name: str, hyperparameters: Any, trials: int) -> Any:
        oracle = oracles.load(self.oracle)(
            hyperparameters,
            self._fits,
            self.ctx.directory / name,
            trials=trials,
            epochs=self.epochs,
            seed=self._seed(name),
            against=self.against,
            may_fit=self._may_fit,
        )
        prefix = "" if name == FIRST else f"{name}-"
        for ended in oracle.ended():
            self._record(self._row(oracle, ended, prefix), resumed=True)
        while not self._late(oracle) and (proposed := oracle.propose()) is not None:
            began = time.monotonic()
            self._train(oracle, proposed, prefix)
            row = self._row(oracle, proposed, prefix)
            self._around.append(time.monotonic() - began - row["seconds"])
            counted = ("val_accuracy", "val_loss", *([self.against] if self.against else []))
            scores = {key: row[key] for key in counted} if row["error"] is None else None
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
        """Whether a point fits; nothing does when time is up, so that proposals come to an end."""
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

    def _left(self) -> float:
        """Seconds of the round that are left."""
        return math.inf if self._until is None else self._until - self.spent()

    def _late(self, oracle: Any) -> bool:
        """Whether there is no time for a trial; if it is short, the oracle does less."""
        if self._until is None:
            return False
        start, each = self._pace(None)
        best = networks(self.rows)
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
        """Another one for each round, or the second would draw what the first has."""
        return self.ctx.seed + (0 if name == FIRST else SECOND_SEED)

    def _pace(self, trial_id: str | None) -> tuple[float, float]:
        """Seconds to start a trial, and of an epoch, as one trial took, or all on average."""
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

        An interrupted trial keeps both, or it could not go on.
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
        """Epochs of a trial: fewer if time is short, so that its schedule comes to its end."""
        wanted = span.last - span.first
        start, each = self._pace(parent)
        if self._until is None or not each:
            return wanted
        return max(1, min(wanted, int((SAFETY * self._left() - start) / each)))

    def spent(self) -> float:
        """Seconds of this search, those of an interrupted run's trials included."""
        return time.monotonic() - self._began + self._before

    def _train(self, oracle: Any, proposed: Any, prefix: str) -> None:
        """Train a network in a process of its own, which leaves a result; a crash is one."""
        directory = oracle.trial_dir(proposed.trial_id)
        span = oracle.span(proposed)
        point = self.space.candidate(proposed.hyperparameters.values)
        parent = oracle.trial_dir(span.parent) if span.parent else None
        epochs, is_part = self._plan(directory, span, parent, prefix)
        more = {"grace": self.grace, "epoch_images": self.epoch_images}
        task = trial.Task(
            family=point.family,
            arch=point.arch.model_dump(mode="json"),
            settings=point.settings | {"epochs": self.epochs if is_part else epochs} | more,
            seed=self._seed(directory.parent.name) + int(oracle.origin(proposed)),
            directory=directory,
            parent=parent,
            first=span.first,
            last=span.last if is_part else None,
            preprocessing=self.preprocessing,
            deadline=None if self._until is None else time.monotonic() + self._left(),
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
        """Delete the checkpoints of trials that will not go on."""
        for ended in oracle.ended():
            if ended.trial_id not in kept:
                (oracle.trial_dir(ended.trial_id) / CHECKPOINT).unlink(missing_ok=True)

    def _record(self, row: Row, resumed: bool) -> None:
        self.rows.append(row)
        self._before += row["seconds"] if resumed else 0.0
        self.ctx.log.trial(row)
        log.info("search: trial %s %s", row["trial_id"], _summary(row))

    def _row(self, oracle: Any, ended: Any, prefix: str) -> Row:
        """What the report and MLflow are told of a trial that has left its result."""
        point = self.space.candidate(ended.hyperparameters.values)
        span = oracle.span(ended)
        directory = oracle.trial_dir(ended.trial_id)
        result = trial.result(directory)
        return {
            "trial_id": f"{prefix}{ended.trial_id}",
            "parent": span.parent and f"{prefix}{span.parent}",
            "first_epoch": span.first,
            "directory": str(directory.relative_to(self.ctx.directory)),
            "family": point.family,
            "arch": point.arch.model_dump(mode="json"),
            "settings": {**point.settings, "epochs": span.first + result["epochs"]},
            "epoch_images": self.epoch_images,
            **self.costs.all_of(point.family, point.arch),
            "status": "COMPLETED" if result["error"] is None else "FAILED",
            **result,
        }


def _key(ended: Any) -> str:
    """The same for all trials of a network."""
    values = ended.hyperparameters.values.items()
    return json.dumps({k: v for k, v in values if not k.startswith("tuner/")}, sort_keys=True)


def _summary(row: Row) -> str:
    if row["error"]:
        return f"FAILED: {row['error'].strip().splitlines()[-1]}"
    return (
        f"{row['family']} val_accuracy={row['val_accuracy']:.4f} flops={row['flops']:,} "
        f"seconds={row['seconds']}"
    )
