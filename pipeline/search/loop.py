"""The loop of a search: propose, train, record, until the trials or the time are used up."""

import json
import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.context import Context
from pipeline.search import oracles, timing
from pipeline.search.costs import Costs
from pipeline.search.crew import Crew, Job
from pipeline.search.oracles import hyperband
from pipeline.search.oracles.base import chosen
from pipeline.search.prior import usual
from pipeline.search.ranking import Row, networks
from pipeline.search.rounds import Plan, Round
from pipeline.search.space import Space, refined
from pipeline.search.timing import Timing
from pipeline.system.progress import duration

log = logging.getLogger("flopsmith")
FIRST, SECOND = "trials", "refined"  # directories of the two rounds
ENDLESS = 9999  # networks of a round that ends with its time alone
SECOND_SEED = 10_000  # added to the seed in the second round
KNOWN_AFTER = 3  # trials whose times are averaged; the first alone is slower than the others
REFINED_FROM = 3  # networks around which the second round searches


class TimeUpError(RuntimeError):
    """The time is up while a point is looked for; not a reason why points do not fit."""


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
    _endless: bool = False  # it ends with its time alone
    _wanted: int = 0  # networks when the round ends

    def __post_init__(self) -> None:
        plan = self.plan
        self.time = Timing(self.rows, plan.seconds, plan.until, plan.after)

    def run(self, trials: int | None, refine: bool) -> None:
        """Search; with `refine`, spend half of the trials around the best of the first half.

        Args:
            trials: Networks to try; None: as many as there is time for.
            refine: Whether there is a second half.
        """
        self._endless = trials is None
        if self.plan.in_slices:
            flops, images = self.ctx.budget.most_flops(), len(self.ctx.data.train)
            most = (
                math.inf if flops is None else timing.long_enough(flops, images) / self.plan.epochs
            )
            goes_on = issubclass(oracles.load(self.plan.oracle), hyperband.Oracle)
            planned = timing.HALVING if goes_on else timing.WHOLE
            self.time.divide(planned, self.plan.workers, most)
            log.info("search: networks are compared after equal times of training, not epochs")
        trials = trials or 2 * ENDLESS
        whole = self.space.hyperparameters()
        halves = 2 if refine and trials > 1 else 1
        self.time.part = 1 / halves
        first = self._round(FIRST, whole, trials - trials // 2 if halves > 1 else trials)
        best: dict[str, Any] = {}
        for ended in first.best_first(first.ended()):
            best.setdefault(_key(ended), ended.hyperparameters.values)
        if halves > 1 and best:
            self.time.part = 1.0
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
        if self.time.left() <= 0 and not self.rows:
            return "The time was up before the first. Raise search.minutes, or minutes"
        if self.rows:
            return f"The last: {self.rows[-1]['error'].strip().splitlines()[-1]}"
        return f"{self.acceptance()}. Loosen these bounds, or add families"

    def standing(self) -> str:
        """How far it is: networks tried, the best so far, the time left, and what comes next."""
        done = [row[self.plan.score] for row in self.rows if not row["error"]]
        tried = self._tried()
        of = "" if self._endless else f" of {max(self._wanted, tried)}"
        said = [f"{tried}{of} network{'s' * (tried != 1 or bool(of))}"]
        said += [f"best {self.plan.score} {max(done):.4f}"] if done else []
        left = self.time.ahead(self._wanted - tried, self.plan.workers)
        if math.isfinite(left) and left > 0:
            said.append(f"about {duration(left)} left")
        return ", ".join([*said, *([f"then {self.ctx.then}"] if self.ctx.then else [])])

    def _tried(self) -> int:
        return sum(row["parent"] is None for row in self.rows)

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
        prefix, seed = "" if name == FIRST else f"{name}-", self._seed(name)
        ours = self.plan, self.space, self.costs, self.ctx, self.time
        own = Round(oracle, prefix, seed, *ours)
        self._wanted = self._tried() + trials
        for ended in oracle.ended():
            self._record(own.row(ended), resumed=True)
        workers, data = self.plan.workers, self.ctx.data
        ordered = not self.time.limited
        with Crew(workers, data, own.task, ordered, self.standing) as crew:
            while True:
                while crew.has_room and (proposed := self._next(oracle, crew)) is not None:
                    crew.add(oracle.trial_dir(proposed.trial_id).name, proposed)
                if not crew.jobs:
                    break
                self._end(own, crew.next_ended())
        own.forget(set())
        tried = sum(oracle.span(trial).parent is None for trial in oracle.ended())
        self._tell(tried, trials, oracle.haste > 0 or self.time.is_up())
        self.admitted += oracle.admitted
        self.refused += oracle.refused
        return oracle

    def _end(self, own: Round, job: Job) -> None:
        """Record a trial that has ended, and tell the oracle."""
        row = own.row(job.about)
        self.time.around.append(job.seconds - row["seconds"])
        counted = ("val_loss", *([self.plan.against] if self.plan.against else []))
        # oracles call what they maximize by the name of the default
        names = {"val_accuracy": self.plan.score, **{name: name for name in counted}}
        scores = {key: row[name] for key, name in names.items()} if not row["error"] else None
        own.oracle.finish(job.about, scores, row["error"])
        self._record(row, resumed=False)
        own.forget(own.oracle.promotable())

    def _tell(self, tried: int, trials: int, was_short: bool) -> None:
        """Say why a round tried fewer networks than were asked for."""
        if was_short and self._endless:
            log.info("search: the time was enough for %d network%s", tried, "s" * (tried != 1))
        elif was_short and tried < trials:
            said = "search: the time was up after %d of %d networks; for more, raise minutes"
            log.warning(said, tried, trials)
        elif tried < trials:
            wanted = "" if self._endless else f" of {trials}"
            log.warning("search: found no more than %d%s networks that fit", tried, wanted)

    def _fits(self, values: Mapping[str, Any]) -> bool:
        return self._judge(values, self.costs.broken_by)

    def _may_fit(self, values: Mapping[str, Any]) -> bool:
        return self._judge(values, self.costs.surely_broken_by)

    def _judge(self, values: Mapping[str, Any], broken_by: Callable[..., list[str]]) -> bool:
        """Whether a point fits."""
        if self.time.left() <= 0:
            raise TimeUpError
        point = self.space.candidate(values)
        try:
            broken = broken_by(point.family, point.arch)
        # A family that cannot build what it samples costs its points, not the search.
        except Exception as error:  # noqa: BLE001
            log.warning("search: a network of %s cannot be counted: %s", point.family, error)
            broken = [f"an error of {point.family}"]
        self.tally.update(broken)
        return not broken

    def _next(self, oracle: Any, crew: Crew) -> Any:
        """The next trial; None if there is none as yet, none at all, or no time for one."""
        if self.time.is_up():
            return None
        if self._endless:
            oracle.foreseen = self.time.foreseen(self.plan.epochs)
        self._hurry(oracle)
        if crew.jobs and oracle.waits():
            return None
        try:
            while (proposed := oracle.propose()) is None and oracle.haste:
                oracle.haste -= 1  # the best is trained to the end, and there is time for others
                ahead = oracle.ahead()
                if not oracle.haste and ahead and not self.time.fits(None, (ahead[0], 0)):
                    return None
        except TimeUpError:
            return None
        return proposed

    def _flops(self, values: Mapping[str, Any]) -> float:
        point = self.space.candidate(values)
        return self.costs.of(point.family, point.arch)["flops"]

    def _hurry(self, oracle: Any) -> None:
        """Tell the oracle how short the time is."""
        if not self.time.limited:
            return
        best = networks(self.rows, self.plan.score)
        for oracle.haste in (0, 1, 2) if len(self.rows) >= KNOWN_AFTER else (0,):
            ahead = oracle.ahead()
            if ahead is None or self.time.fits(best[0]["trial_id"] if best else None, ahead):
                break

    def _seed(self, name: str) -> int:
        """The seed of a round; the second has another, so that it draws other points."""
        return self.ctx.seed + (0 if name == FIRST else SECOND_SEED)

    def _record(self, row: Row, resumed: bool) -> None:
        self.rows.append(row)
        self.time.before += row["seconds"] / self.plan.workers if resumed else 0.0
        self.ctx.log.trial(row)
        said = "" if resumed else f"; {self.standing()}"
        log.info("search: trial %s %s%s", row["trial_id"], _summary(row, self.plan.score), said)


def _key(ended: Any) -> str:
    """Identify the network of a trial: equal for all trials of the same network."""
    return json.dumps(chosen(ended.hyperparameters.values), sort_keys=True)


def _summary(row: Row, score: str) -> str:
    if row["error"]:
        return f"FAILED: {row['error'].strip().splitlines()[-1]}"
    return (
        f"{row['family']} {score}={row[score]:.4f} flops={row['flops']:,} seconds={row['seconds']}"
    )
