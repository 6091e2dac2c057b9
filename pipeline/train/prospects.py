"""Whether the rest of a training that has to reach a floor is worth it.

What pruning, clustering or quantizing has cost comes back fast at first and slowly then, so that
half of a training tells which floor the rest can reach (`pipeline.objective.Goal`). The numbers
behind the margin are in `docs/log.md`.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.objective import Goal

ROUNDING = 1e-9  # scores closer than that are equal
FIRST = 0.5  # share of the epochs after which the rest can be judged
PATIENCE = 0.25  # share of the epochs without a better score, once the floor is reached
LEAST = 4  # fewer epochs are all trained


@dataclass(frozen=True)
class Limits:
    """When one training may end before its last epoch."""

    goal: Goal | None = None  # None: it is not judged by a floor
    deadline: float | None = None  # `time.monotonic()` after which no epoch begins; None: no limit

    def is_over(self, scores: Sequence[float], epochs: int, settle: int = 0) -> bool:
        """Whether no further epoch is worth it.

        It is judged after half of its epochs. Then it ends if nothing is lost, if it has reached
        the floor and a quarter of the epochs has brought nothing better, or if it is hopeless.

        Args:
            scores: On val, of every epoch so far.
            epochs: Of the whole training; four at least, or it is not judged.
            settle: First epochs, whose scores do not count.
        """
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return True
        done, counted = len(scores), scores[settle:]
        if self.goal is None or epochs < LEAST or not counted or done < FIRST * epochs:
            return False
        best = max(counted)
        waited = len(counted) - 1 - list(counted).index(best)
        if best >= self.goal.floor - ROUNDING:
            return best >= self.goal.whole or waited >= PATIENCE * epochs
        return self.goal.is_hopeless(best, 1 - done / epochs)
