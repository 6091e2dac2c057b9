"""The course of one training: its curves, its best weights, and whether it is over."""

import math
from dataclasses import dataclass, field
from typing import Any

from pipeline.details import Objective
from pipeline.train import pacing
from pipeline.train.pacing import Pace
from pipeline.train.prospects import Limits
from pipeline.train.settings import Settings

History = dict[str, list[float]]
CURVES = {
    "loss": "train/loss",
    "accuracy": "train/accuracy",
    "val_loss": "val/loss",
    "val_accuracy": "val/accuracy",
}


def curves(objective: Objective) -> dict[str, str]:
    """The names of the curves by those that Keras gives them.

    >>> list(curves("macro_f1").values())[3:]
    ['val/accuracy', 'val/macro_f1']
    """
    return CURVES | {f"val_{objective}": f"val/{objective}"}


@dataclass
class Course:
    """The curves and best weights of one training so far, and whether it is over."""

    settings: Settings
    chance: float  # the objective of guessing
    objective: Objective = "accuracy"
    part: int | None = None  # epochs after which it stops for now; None: all
    limits: Limits = field(default_factory=Limits)
    pace: Pace | None = None  # None: the epochs of the settings
    history: History = field(default_factory=dict)
    best_weights: list[Any] | None = None
    best: tuple[float, float] = (-math.inf, -math.inf)  # the objective on val, minus val loss
    best_epoch: int = 0

    def __post_init__(self) -> None:
        self.history = {curve: [] for curve in curves(self.objective).values()}

    @property
    def goal(self) -> str:
        """The curve that decides."""
        return f"val/{self.objective}"

    @property
    def epochs(self) -> int:
        """Epochs that are done."""
        return len(self.history["train/loss"])

    @property
    def last(self) -> int:
        """Epochs after which it stops."""
        if self.pace:
            return self.pace.most or pacing.ENDLESS
        return min(self.settings.epochs, self.part or self.settings.epochs)

    @property
    def expected(self) -> int:
        """Epochs after which it stops, as far as is known."""
        return self.pace.expected(self.epochs) if self.pace else self.last

    def add(self, point: dict[str, float]) -> bool:
        """Append one epoch to the curves; returns whether its weights are the best so far."""
        epoch = self.epochs
        for curve, value in point.items():
            self.history[curve].append(value)
        score = (point[self.goal], -point["val/loss"])
        if epoch < self.settings.settle or score <= self.best or not math.isfinite(score[1]):
            return False
        self.best, self.best_epoch = score, epoch
        return True

    def is_over(self) -> bool:
        """Whether no further epoch may begin."""
        if not self.epochs:
            return False
        patience, grace = self.settings.patience, self.settings.grace
        last = self.epochs - 1
        reasons = (
            self.epochs >= self.last,
            not math.isfinite(self.history["train/loss"][-1]),
            patience and last >= self.settings.settle and last - self.best_epoch >= patience,
            grace and self.epochs >= grace and max(self.history[self.goal]) <= self.chance,
            self.pace is not None and self.pace.is_over(self.epochs),
            self.limits.is_over(
                self.history[self.goal], self.settings.epochs, self.settings.settle
            ),
        )
        return any(reasons)
