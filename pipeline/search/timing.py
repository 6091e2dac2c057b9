"""The time of a search: what is left of it, and what trials are expected to take.

In limited time networks are compared after equal times, since that is what they will have: a
network that takes four times as long for an epoch has to be better after a quarter of the epochs.
What the oracle calls an epoch is a slice of time then, of `unit` seconds.
"""

import math
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.search.ranking import Row
from pipeline.train import speed

if TYPE_CHECKING:  # it imports keras-tuner, which takes seconds
    from pipeline.search.oracles.base import Span

SAFETY = 0.9  # share of the time left that plans may use: epochs vary in length
# units and trials of a search: two brackets of 3 networks of 2, one of 4 more, and 2 of 6; or, of
# oracles whose trials do not go on, 12 networks of 6
HALVING, WHOLE = (22, 6), (72, 12)
START = 8.0  # seconds to start a trial, until the first is known
SHORTEST = 1.0  # second of a unit
LONG = 30  # epochs that are enough for a trial: more time is for more networks
TYPICAL = 2.0  # times the measured speed: between that and `speed.PLAIN`
FINALIST = 5.0  # seconds to quantize one of the best and measure its file, on an idle machine


@dataclass
class Timing:
    """How much time a search has, and how fast its trials were.

    Attributes:
        rows: Its trials that have ended; the search appends to them.
        seconds: What it may take, an interrupted run included; None: no limit.
        until: `time.monotonic()` by which it should end; None: no limit.
        after: Networks that are quantized in that time once the trials have ended.
        part: Of its time, until the end of the round.
        unit: Seconds that stand for an epoch; None: networks train for epochs.
        around: Seconds that each trial took outside its process.
        before: Seconds that the trials of an interrupted run took.
    """

    rows: list[Row]
    seconds: float | None = None
    until: float | None = None
    after: int = 0
    part: float = 1.0
    unit: float | None = None
    around: list[float] = field(default_factory=list)
    before: float = 0.0
    began: float = field(default_factory=time.monotonic)

    @property
    def limited(self) -> bool:
        """Whether there is an end."""
        return self.seconds is not None or self.until is not None

    def spent(self) -> float:
        """Seconds of this search, those of an interrupted run's trials included."""
        return time.monotonic() - self.began + self.before

    def left(self) -> float:
        """Seconds of the round that are left."""
        ends = [math.inf]
        if self.seconds is not None:
            ends.append(self.part * self.seconds - self.spent())
        if self.until is not None:
            whole = self.until - self.after * max(FINALIST, self.pace(None)[0]) - self.began
            ends.append(self.began + self.part * whole - time.monotonic())
        return min(ends)

    def deadline(self) -> float | None:
        """`time.monotonic()` at the end of the round."""
        return time.monotonic() + self.left() if self.limited else None

    def pace(self, trial_id: str | None) -> tuple[float, float]:
        """Seconds to start a trial, and of an epoch: of the trial given, or on average."""
        trained = [row for row in self.rows if row["history"]]
        trained = [row for row in trained if row["trial_id"] == trial_id] or trained
        if not trained:
            return 0.0, 0.0
        each = statistics.mean(row["epoch_seconds"] for row in trained)
        rest = [r["seconds"] - r["epoch_seconds"] * len(r["history"]["val/loss"]) for r in trained]
        if self.unit is not None:
            each, rest = self.unit, [row["seconds"] - row["slice_seconds"] for row in trained]
        around = statistics.median_low(self.around) if self.around else 0.0
        return max(statistics.mean(rest) + around, 0.0), each

    def affordable(self, span: "Span", parent: str | None) -> int:
        """Epochs of a trial: fewer if time is short, so that its schedule is completed."""
        wanted = span.last - span.first
        start, each = self.pace(parent)
        if not self.limited or not each:
            return wanted
        return max(1, min(wanted, int((SAFETY * self.left() - start) / each)))

    def divide(self, planned: tuple[int, int], workers: int, most: float) -> None:
        """Choose `unit` so that several networks are compared in the time.

        Args:
            planned: How many units they take, and how many trials.
            workers: Trials that are trained at once.
            most: Seconds that it is not worth to exceed.
        """
        units, starts = planned
        fitting = (workers * SAFETY * self.left() - starts * START) / units
        self.unit = max(SHORTEST, min(fitting, most))

    def slice(self, span: "Span") -> float | None:
        """Seconds of training of a trial; None: it trains for epochs."""
        if self.unit is None:
            return None
        start, _ = self.pace(None)
        return min((span.last - span.first) * self.unit, max(self.left() - start, SHORTEST))

    def fits(self, trial_id: str | None, ahead: tuple[int, int]) -> bool:
        """Whether there is time for a trial of so many epochs, and one that goes on with the best.

        Args:
            trial_id: The best trial, whose network goes on.
            ahead: Epochs of both.
        """
        start, each = self.pace(None)
        last = self.pace(trial_id)
        return start + each * ahead[0] + last[0] + last[1] * ahead[1] < SAFETY * self.left()

    def ahead(self, others: int, workers: int) -> float:
        """Seconds until the search ends: its time, or what so many other networks may take."""
        took = [row["seconds"] for row in self.rows]
        if self.limited:
            return self.left()
        each = statistics.mean(took) if took else math.inf
        return each * max(0, others) / workers

    def is_up(self) -> bool:
        """Whether there is no time for a trial of one epoch."""
        return self.limited and self.left() <= sum(self.pace(None))

    def foreseen(self, epochs: int) -> int:
        """Trials of so many epochs for which there is time, those that have ended included."""
        start, each = self.pace(None)
        if not each or not self.limited:
            return len(self.rows) + 1
        return len(self.rows) + max(1, int(self.left() / (start + each * epochs)))


def long_enough(flops: float, images: int) -> float:
    """Seconds of training after which a network is surely known.

    Args:
        flops: Of a forward pass.
        images: To train on.
    """
    return LONG * images * speed.BACKWARD * flops / (TYPICAL * speed.flops_per_second())
