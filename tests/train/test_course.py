"""The course of a training: which epoch is best, and when no further one begins."""

import math
import time
from typing import Any

import pytest

from pipeline.objective import Goal
from pipeline.train.course import Course
from pipeline.train.prospects import Limits
from pipeline.train.settings import Settings


def course(scores: list[float], losses: list[float] | None = None, **options: Any) -> Course:
    """A course after epochs with these scores on val."""
    settings = Settings(epochs=10, **options.pop("settings", {}))
    made = Course(settings, chance=0.1, **options)
    for at, score in enumerate(scores):
        loss = losses[at] if losses else 1 - score
        point = {"train/loss": loss, "train/accuracy": score, "val/loss": loss}
        made.add(point | {"val/accuracy": score})
    return made


def test_the_best_epoch_has_the_highest_score_and_of_equals_the_lowest_loss() -> None:
    assert course([0.3, 0.6, 0.5]).best_epoch == 1
    assert course([0.5, 0.5, 0.5], [0.9, 0.7, 0.8]).best_epoch == 1


def test_epochs_that_settle_or_are_not_finite_are_not_the_best() -> None:
    assert course([0.9, 0.4, 0.5], settings={"settle": 1}).best_epoch == 2
    assert course([0.4, 0.9], [0.6, math.inf]).best_epoch == 0


@pytest.mark.parametrize(
    ("scores", "options"),
    [
        ([0.5] * 10, {}),
        ([0.5, 0.6], {"part": 2}),
        ([0.5, 0.4, 0.4], {"settings": {"patience": 2}}),
        ([0.1, 0.1], {"settings": {"grace": 2}}),
        ([0.5], {"limits": Limits(deadline=time.monotonic() - 1)}),
    ],
)
def test_it_is_over(scores: list[float], options: dict[str, Any]) -> None:
    assert course(scores, **options).is_over()
    assert not course(scores[:-1], **options).is_over()


def test_it_is_not_over_before_the_first_epoch_nor_with_time_and_patience_left() -> None:
    later = Limits(deadline=time.monotonic() + 100)
    assert not course([], limits=later).is_over()
    assert not course([0.5, 0.6, 0.55], limits=later, settings={"patience": 2}).is_over()


def test_a_loss_that_is_not_finite_ends_it() -> None:
    assert course([0.5, 0.5], [0.5, math.nan]).is_over()


def test_a_floor_that_is_reached_and_left_behind_ends_it() -> None:
    assert course([0.5, 0.6, 0.7, 0.9, 0.9, 0.9], limits=Limits(Goal(0.8, 0.9, 500))).is_over()
