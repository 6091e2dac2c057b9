"""Attempts: runs of one stage with several settings, each in a directory of its own.

With a limit on time, an attempt begins only if it is likely to end in time. The seconds of an epoch
are those of the attempts so far or, before the first, of the training that made the input.
"""

import logging
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline import artifact
from pipeline.artifact import Artifact
from pipeline.compress import sensitivity
from pipeline.context import Attempt, Context, Log
from pipeline.measure import metrics
from pipeline.measure.reference import ROUNDING
from pipeline.objective import Goal
from pipeline.stage import Ladder, Stage, StageConfig
from pipeline.system.files import fingerprint
from pipeline.train.checkpoint import CHECKPOINT

PREFIX = "attempt-"  # of their directories
# An epoch of compression takes longer than one before: the network before the stage runs as well,
# or each layer rounds its numbers. Measured: 1.2 to 1.6 times.
SLOWER = 1.6
log = logging.getLogger("flopsmith")


@dataclass
class Attempts:
    """Makes attempts, or reads those that an interrupted run has made."""

    stage: Stage
    ladder: Ladder
    source: Artifact  # the input of the stage
    goal: Goal
    ctx: Context
    epochs: int = 0  # of all attempts so far
    seconds: float = 0.0  # that these took

    def score(self, made: Artifact) -> float:
        """The objective on val."""
        return made.metrics[f"val_{self.ctx.objective}"]

    def holds(self, made: Artifact) -> bool:
        """Whether an attempt is at or above the floor."""
        return self.score(made) >= self.goal.floor - ROUNDING

    def make(self, rung: int, start: Artifact, held: bool, again: bool = False) -> Artifact | None:
        """Make the attempt with the settings of a rung, or read what an interrupted run made.

        Args:
            rung: Its index.
            start: What it starts from: the input of the stage, or an attempt that holds.
            held: Whether any attempt holds; if not, this one is made with as many epochs as fit.
            again: Whether this rung is tried for the second time.

        Returns:
            The attempt; None if there is no time for it.
        """
        settings = self.ladder.rungs[rung].model_dump(mode="json")
        if self.ctx.until is not None:  # how many epochs fit is not the same in every run
            settings.pop("epochs", None)
        code = fingerprint(self.ctx.fingerprint, settings, start.directory.name)
        directory = self.ctx.directory / f"{PREFIX}{rung}{'-again' * again}"
        made = artifact.load(directory)
        if made is None or made.fingerprint != code:
            config = self._in_time(self.ladder.rungs[rung], shorten=not held)
            if config is None:
                return None
            made = self._run(start, config, directory, code)
        self.epochs, self.seconds = self.epochs + len(_epochs(made)), self.seconds + made.seconds
        return made

    def context(self, directory: Path, **changes: Any) -> Context:
        """What the stage is given for an attempt in a directory."""
        attempt = Attempt(self.source, self.ctx.directory, self.goal)
        return replace(self.ctx, directory=directory, attempt=attempt, **changes)

    def _in_time(self, config: StageConfig, shorten: bool) -> StageConfig | None:
        """The settings, perhaps with fewer epochs, with which an attempt would end in time."""
        until, epochs = self.ctx.until, getattr(config, "epochs", 0)
        pace = self._pace()
        if until is None or not epochs:
            return config
        left = until - time.monotonic()
        fits = epochs if pace is None and left > 0 else int(max(0.0, left) / (pace or 1.0))
        if fits >= epochs:
            return config
        if not shorten:
            return None
        for fewer in range(max(fits, int(self.ladder.vital)), 0, -1):
            if (made := _shorter(config, fewer)) is not None:
                log.warning(
                    "%s: trains %d epochs of %d: %.0f s are left, and an epoch takes about %.1f s",
                    *(self.ctx.name, fewer, epochs, left, pace or 0.0),
                )
                return made
        return None

    def _pace(self) -> float | None:
        """About how many seconds an epoch takes, all that surrounds it included; None: unknown."""
        if self.epochs:
            return self.seconds / self.epochs
        for made in (self.source, *reversed(self.ctx.earlier())):
            if made.seconds and _epochs(made):
                return SLOWER * made.seconds / len(_epochs(made))
        return None

    def _run(self, start: Artifact, config: StageConfig, directory: Path, code: str) -> Artifact:
        """Run the stage, score what it makes, and write it down."""
        directory.mkdir(exist_ok=True)
        later = _Later(self.ctx.log, self.epochs)
        began = time.perf_counter()
        made = self.stage.run(start, config, self.context(directory, fingerprint=code, log=later))
        scores = made.metrics
        if f"val_{self.ctx.objective}" not in scores:  # the stage has not measured it itself
            scores = metrics.val_scores(made, self.ctx.data, self.ctx.objective)
        seconds = round(time.perf_counter() - began, 2)
        numbers = {**made.metrics, **scores}
        made = made.model_copy(update={"metrics": numbers, "seconds": seconds})
        made.save()
        (directory / CHECKPOINT).unlink(missing_ok=True)
        return made


class Search:
    """Which rung is tried next: the strongest that holds lies between one that does and one not."""

    def __init__(self, count: int, start: int, foretold: bool) -> None:
        """Begin with the rung `start` of `count`; one that is foretold is not far from the best."""
        self.held, self.failed, self.rung = -1, count, start
        self._count = count
        self._step = 1 if foretold else count  # down from what does not hold; grows
        self._from: dict[int, int] = {}  # by rung that did not hold, what held when it was tried

    @property
    def is_over(self) -> bool:
        """Whether the strongest that holds is found."""
        return self.failed - self.held <= 1

    def note(self, holds: bool, known: bool = False) -> None:
        """Note whether the rung holds, and choose the next; what is `known` is not tried again."""
        before = self.rung
        if not holds and not known:
            self._from[before] = self.held
        self.held, self.failed = (before, self.failed) if holds else (self.held, before)
        self.rung = (self.held + self.failed) // 2
        if not holds:
            self.rung = max(self.rung, before - self._step)
            self._step *= 2

    def again(self) -> bool:
        """Whether to try the rung above what holds once more, as `rung`, since it may hold now.

        It did not when it began from something milder; what holds has been trained further.
        """
        last = self._from.get(self.failed)
        if not self.is_over or last is None or last >= self.held:
            return False
        del self._from[self.failed]
        self.rung = self.failed
        self.failed = min((at for at in self._from if at > self.rung), default=self._count)
        return True


def tidy(directory: Path) -> None:
    """Delete the attempts of a stage, and what they have shared."""
    for path in directory.glob(f"{PREFIX}*"):
        shutil.rmtree(path)
    (directory / sensitivity.FILE).unlink(missing_ok=True)


def _epochs(made: Artifact) -> list[float | None]:
    return made.details.history.get("val/loss", [])


def _shorter(config: StageConfig, epochs: int) -> StageConfig | None:
    """The same settings with fewer epochs; None if they cannot do with so few."""
    try:
        return type(config).model_validate({**config.model_dump(), "epochs": epochs})
    except ValidationError:
        return None


@dataclass(frozen=True)
class _Later:
    """A log that shifts the steps of curves, so that they follow those of earlier attempts."""

    log: Log
    steps: int

    def params(self, values: Mapping[str, Any]) -> None:
        self.log.params(values)

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        self.log.metrics(values, None if step is None else step + self.steps)

    def file(self, path: Path, folder: str | None = None) -> None:
        self.log.file(path, folder)

    def trial(self, row: Mapping[str, Any]) -> None:
        self.log.trial(row)
