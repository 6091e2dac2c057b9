"""Whether a training that has to reach a floor is worth going on with.

What pruning, clustering or quantizing has cost comes back fast at first and slowly then, so that
the first part of a training tells which floor the rest can reach. The numbers behind the margin are
in `docs/log.md`.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SHARE = 0.5  # of what is lost after the first part: more than the rest makes good
FIRST = 0.5  # part of the epochs after which the rest can be judged
PATIENCE = 0.25  # part of the epochs without a better score, once the floor is reached
LEAST = 4  # fewer epochs are not divided


@dataclass(frozen=True)
class Goal:
    """The score on val that a training has to reach, and how much chance is in such scores."""

    floor: float  # 0..1
    whole: float  # score of the network before it was changed
    images: int  # that the scores are measured on

    def is_hopeless(self, score: float) -> bool:
        """Whether the rest of a training cannot lift a score to the floor.

        It would have to make good more than half of what is lost, and more than one standard error
        of a score: `floor - score > max((whole - score) / 2, sqrt(score (1 - score) / images))`.

        >>> goal = Goal(floor=0.89, whole=0.9, images=1000)
        >>> goal.is_hopeless(0.88), goal.is_hopeless(0.86)
        (False, True)
        """
        noise = math.sqrt(max(0.0, score * (1 - score)) / self.images)
        missing, lost = self.floor - score, self.whole - score
        return missing > max(SHARE * lost, noise)


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
            return done >= first(epochs) and self.goal.is_hopeless(best)

        return is_over


def first(epochs: int) -> int:
    """Epochs of the first part of a training; all of them if it is too short to be divided.

    >>> first(12), first(5), first(3)
    (6, 3, 3)
    """
    return epochs if epochs < LEAST else math.ceil(FIRST * epochs)
