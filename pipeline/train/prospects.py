"""Whether a training that has to reach a floor is worth going on with.

What pruning, clustering or quantizing has cost comes back fast at first and slowly then, so that
the first part of a training tells which floor the rest can reach. The numbers behind the margin are
in `docs/log.md`.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

FIRST = 0.5  # part of the epochs after which the rest can be judged
NEXT = 0.25  # the same where training goes on from a network that had to change almost as much
PATIENCE = 0.25  # part of the epochs without a better score, once the floor is reached
LEAST = 4  # fewer epochs are not divided


@dataclass(frozen=True)
class Goal:
    """The score on val that a training has to reach, and how much chance is in such scores."""

    floor: float  # 0..1
    whole: float  # score of the network before it was changed
    images: int  # that the scores are measured on

    def is_hopeless(self, score: float, left: float = FIRST) -> bool:
        """Whether the rest of a training cannot lift a score to the floor.

        It would have to make good a larger share of what is lost than its share of the epochs, and
        more than one standard error of a score: `floor - score` is above `left (whole - score)` and
        above `sqrt(score (1 - score) / images)`.

        Args:
            score: On val, so far.
            left: Share of the epochs that is left, 0..1.

        >>> goal = Goal(floor=0.89, whole=0.9, images=1000)
        >>> goal.is_hopeless(0.88), goal.is_hopeless(0.86), goal.is_hopeless(0.86, left=0.75)
        (False, True, False)
        """
        noise = math.sqrt(max(0.0, score * (1 - score)) / self.images)
        missing, lost = self.floor - score, self.whole - score
        return missing > max(left * lost, noise)


@dataclass(frozen=True)
class Limits:
    """When one training may end before its last epoch."""

    goal: Goal | None = None  # None: it is not judged by a floor
    deadline: float | None = None  # `time.monotonic()` after which no epoch begins; None: no limit

    def after(self, epochs: int) -> Callable[[Sequence[float]], bool]:
        """Make what says, from the scores of its epochs so far, whether such a training is over."""

        def is_over(scores: Sequence[float]) -> bool:
            if self.deadline is not None and time.monotonic() >= self.deadline:
                return True
            if self.goal is None or epochs < LEAST:
                return False
            best, done = max(scores), len(scores)
            if best >= self.goal.floor:
                waited = done - 1 - scores.index(best)
                return waited >= math.ceil(PATIENCE * epochs)
            return done >= parts(epochs)[0] and self.goal.is_hopeless(best, 1 - done / epochs)

        return is_over


def parts(epochs: int, goes_on: bool = False) -> list[int]:
    """The epochs after which a training is judged, the last one among them.

    Args:
        epochs: Of the whole training; few are not divided.
        goes_on: Whether it begins with a network that was trained for almost the same.

    >>> parts(12), parts(12, goes_on=True), parts(5), parts(3)
    ([6, 12], [3, 6, 12], [3, 5], [3])
    """
    if epochs < LEAST:
        return [epochs]
    shares = (NEXT, FIRST) if goes_on else (FIRST,)
    return [*(math.ceil(share * epochs) for share in shares), epochs]
