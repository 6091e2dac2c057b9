"""The clock of a run: how its stages share the minutes that it may take.

Each stage has seconds that it needs whatever happens: to start, to convert, to be measured, and to
train a little. What is left beyond these is shared by the stages that train, in the proportions of
`SHARES`, but none gets more than it can use. The plan is made anew whenever a stage starts, from
the time that is left then and the speed that was measured until then. So a stage that ends early
gives its time to the later ones.
"""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifact import Artifact
from pipeline.data.datasets import Dataset
from pipeline.errors import RecipeError
from pipeline.plan import before, work
from pipeline.plan.estimate import BATCH, STEP, Machine
from pipeline.recipe import Recipe, Step
from pipeline.search.timing import FINALIST
from pipeline.system.progress import duration
from pipeline.train.speed import BACKWARD, PLAIN

# How what is left beyond the least is shared; stages that are not named get the least.
SHARES = {
    "search": 1.0,
    "finetune": 5.0,
    "pretrain": 2.0,
    "prune": 1.5,
    "slim": 1.5,
    "factorize": 1.0,
    "cluster": 1.0,
    "quantize": 1.0,
}
# Seconds of a stage beside its training and measuring, on the machine of `SPEED`.
FIXED = {"search": 8.0, "load": 8.0, "quantize": 20.0, "export": 24.0, "report": 8.0}
TRACED = 6.0  # seconds until the first step of a training
MEASURED = 3.0  # seconds of measuring a model, besides those of the images
EPOCH = {"prune": 1.2, "cluster": 1.3, "quantize": 1.5}  # seconds of an epoch, per plain epoch
SPEED = 5e9  # FLOPs of a forward pass per second of training, of two idle cores
FASTEST = 0.5  # of the fixed seconds, on whatever machine
SAFETY = 1.2  # factor on what is kept for later stages: a machine is not always equally fast
LOADS = (0.5, 30.0)  # of which `load` cannot be out: one model says little of all that comes
FIRST = 2  # epochs that a training has at least

log = logging.getLogger("flopsmith")


@dataclass(frozen=True)
class Need:
    """The time that one stage can use, in seconds.

    Attributes:
        name: Of the stage.
        least: Without it the stage cannot do its work.
        most: It has no use for more.
        share: Of what is left beyond the least.
        after: Of the least, what is spent on measuring once the stage has ended.
    """

    name: str
    least: float
    most: float = math.inf
    share: float = 0.0
    after: float = 0.0


def shared(left: float, needs: Sequence[Need]) -> list[float]:
    """Share out the seconds that are left: the least to each, the rest in proportion.

    Where even the least is more than what is left, each gets an equal fraction of its least.

    >>> search, prune = Need("search", 10, share=3), Need("prune", 10, most=20, share=2)
    >>> shared(40, [search, prune]), shared(100, [search, prune]), shared(10, [search, prune])
    ([22.0, 18.0], [80.0, 20], [5.0, 5.0])
    """
    least = sum(need.least for need in needs)
    if left <= least:
        return [need.least * max(left, 0.0) / least for need in needs]
    given = [need.least for need in needs]
    open_ = {i for i, need in enumerate(needs) if need.share and need.most > need.least}
    rest = left - least
    while open_:
        unit = rest / sum(needs[i].share for i in open_)
        full = {i for i in open_ if needs[i].least + unit * needs[i].share >= needs[i].most}
        for i in full or open_:
            given[i] = needs[i].most if full else needs[i].least + unit * needs[i].share
            rest -= given[i] - needs[i].least
        open_ = open_ - full if full else set()
    return given


@dataclass
class Clock:
    """The time of one run; `start` says when each stage should end."""

    recipe: Recipe
    dataset: Dataset
    names: list[str]  # of the directories of the stages that are still to run, in order
    steps: list[Step]  # these stages
    began: float  # `time.monotonic()` when the command began
    spent: float = 0.0  # seconds that earlier commands have spent
    machine: Machine | None = None  # None: the FLOPs of the network are not known yet
    speed: float = SPEED
    pace: float = 1.0  # seconds of an epoch, measured, per second estimated
    load: float = 1.0  # the same of what is fixed, as measuring a model shows it
    _expected: float = 0.0  # seconds of measuring the stage that runs, at a load of 1

    @property
    def seconds(self) -> float:
        """All that the run may take."""
        return 60 * (self.recipe.minutes or math.inf)

    @property
    def left(self) -> float:
        """Seconds that are left of the run."""
        return self.seconds - self.spent - (time.monotonic() - self.began)

    def check(self) -> None:
        """Refuse a time that is too short, before anything is trained.

        A run that goes on is not refused: what has been done would be lost.

        Raises:
            RecipeError: says how many minutes the recipe needs.
        """
        needs = self.needs()
        least = sum(need.least for need in needs) + time.monotonic() - self.began
        if self.seconds >= least or self.spent:
            return
        parts = ", ".join(f"{n.name} {n.least / 60:.1f}" for n in needs)
        raise RecipeError(
            f"minutes: too few for this recipe on this machine. Received: "
            f"minutes={_number(self.seconds / 60)}. It needs at least {math.ceil(least / 6) / 10}: "
            f"{parts}. Raise minutes, or leave out stages"
        )

    def needs(self) -> list[Need]:
        """What each of the stages that are still to run needs."""
        return [self._need(step) for step in self.steps]

    def plan(self) -> str:
        """What is said of the time before the first stage starts."""
        needs = self.needs()
        given = shared(self.left, needs)
        spent = f", of which {_said(self.spent)} were spent before" if self.spent else ""
        return (
            f"{_number(self.seconds / 60)} min for the whole run{spent}; planned: "
            f"{_listed(needs, given)}; "
            "planned anew whenever a stage starts, from the time left and the speed measured"
        )

    def start(self, name: str, source: Artifact) -> float:
        """Begin a stage; returns `time.monotonic()` by which it should end.

        Args:
            name: Of its directory.
            source: The artifact that it starts from.
        """
        while self.names[0] != name:  # those before it have ended
            del self.names[0], self.steps[0]
        self._learn(source)
        needs = self.needs()
        self._expected = needs[0].after / self.load
        left = self.left
        given = shared(left, needs)
        later = _listed(needs[1:], given[1:])
        log.info(
            "time: %s left of %s min; %s has about %s%s",
            duration(max(left, 0)) if left > 0 else "none",
            *(_number(self.seconds / 60), needs[0].name, _said(given[0])),
            later and f", then {later}",
        )
        if left < sum(need.least for need in needs):
            log.warning(
                "time: what is still to do needs at least %s, so the run may take longer",
                duration(sum(need.least for need in needs)),
            )
        return time.monotonic() + max(given[0] - needs[0].after, 0.0)

    def measured(self, seconds: float) -> None:
        """Take how long the model of the stage that has ended took to be measured."""
        if self._expected:
            self.load = min(max(seconds / self._expected, LOADS[0]), LOADS[1])

    def result(self) -> str:
        """How long the run has taken, once it has ended."""
        return f"{duration(self.seconds - self.left)} of {_number(self.seconds / 60)} min used"

    def _learn(self, source: Artifact) -> None:
        """Take the FLOPs and the speed from what the last stage has made and measured."""
        if not (flops := source.metrics.get("flops")):
            return
        plain = Machine(self.speed, (flops, flops), work.images(self.dataset))
        self.machine = plain
        if measured := _epoch_seconds(source, self.dataset):
            self.pace = measured / _epoch(plain)[0]

    def _need(self, step: Step) -> Need:
        slow = self.load * max(FASTEST, SPEED / self.speed)
        config, name = step.config, step.name
        epoch = (0.0, 0.0) if self.machine is None else _epoch(self.machine)
        each = [EPOCH.get(name, 1.0) * self.pace * seconds for seconds in epoch]
        flops = 0.0 if self.machine is None else self.machine.flops[1]
        pictures = len(self.dataset.val) + len(self.dataset.test)
        after = MEASURED * slow + self.load * pictures * flops / self.speed
        fixed = FIXED.get(name, 0.0) * slow
        if name not in SHARES:
            after = 0.0 if name == "report" else after
            return Need(name, SAFETY * (fixed + after), after=after)
        todo = work.of(step)
        fixed += TRACED * slow
        epochs = float(min(FIRST, getattr(config, "epochs", FIRST)))
        if name == "search":
            fixed += (TRACED + config.finalists * FINALIST) * slow  # type: ignore[attr-defined]
            epochs *= 2
        least = SAFETY * (fixed + after) + epochs * each[0] / PLAIN
        most = fixed + after + todo.beside[1] * slow + todo.epochs[1] * each[1]
        if step.config.left_to_time() - {"patience"}:
            most = math.inf
        return Need(name, least, max(least, most), SHARES[name], after)


def make(recipe: Recipe, dataset: Dataset, out: Path, fresh: bool, began: float) -> Clock | None:
    """The clock of a run; None for a recipe without `minutes`.

    Args:
        recipe: What is run.
        dataset: Its images.
        out: Directory of the run: stages that have finished there are not counted.
        fresh: Whether every stage runs again.
        began: `time.monotonic()` when the command began.
    """
    if recipe.minutes is None:
        return None
    from pipeline.train import speed

    every = before.expected(recipe, dataset)
    names, expected = list(every), {} if fresh else every
    done = {name for name, code in expected.items() if before.finished(out / name, code)}
    todo = [place for place, name in enumerate(names) if name not in done]
    flops = work.flops(recipe, dataset)
    measured = speed.flops_per_second()
    return Clock(
        recipe,
        dataset,
        [names[place] for place in todo],
        [recipe.stages[place] for place in todo],
        began,
        before.seconds(out, expected),
        flops and Machine(measured, flops, work.images(dataset)),
        measured,
    )


def _epoch(machine: Machine) -> tuple[float, float]:
    """Seconds of an epoch, of the smallest network and of the largest."""
    least, most = (
        machine.images * (BACKWARD * flops / machine.speed + STEP / BATCH)
        for flops in machine.flops
    )
    return least, most


def _epoch_seconds(done: Artifact, dataset: Dataset) -> float | None:
    """Seconds of an epoch in the training of an artifact; None: it was not measured."""
    if row := done.details.winning:
        share = min(len(dataset.train), row["epoch_images"] or len(dataset.train))
        return float(row["epoch_seconds"]) * len(dataset.train) / share or None
    epochs = len(done.details.history.get("val/loss", []))
    if done.stage != "finetune" or epochs < 3:
        return None
    return done.seconds / epochs


def _listed(needs: Sequence[Need], given: Sequence[float]) -> str:
    pairs = zip(needs, given, strict=True)
    return ", ".join(f"{need.name} {_said(seconds)}" for need, seconds in pairs)


def _said(seconds: float) -> str:
    """A time that is planned, which is never exact.

    >>> _said(41), _said(130), _said(1500)
    ('41 s', '2.2 min', '25 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{_number(round(seconds / 60, 1 if seconds < 600 else 0))} min"


def _number(value: float) -> str:
    return f"{value:g}"
