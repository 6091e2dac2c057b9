"""When a training that has to reach a floor is given up, and when it is done."""

import time

import pytest

from pipeline.train.prospects import Goal, Limits, parts

GOAL = Goal(floor=0.90, whole=0.92, images=400)  # a standard error is 0.015 to 0.02


@pytest.mark.parametrize(
    ("score", "hopeless"),
    [
        (0.95, False),
        (0.90, False),
        (0.889, False),  # within a standard error
        (0.85, True),  # 0.05 are missing of 0.07 that are lost
    ],
)
def test_what_chance_or_half_of_the_loss_makes_good_is_gone_on_with(
    score: float, hopeless: bool
) -> None:
    assert GOAL.is_hopeless(score) == hopeless


def test_a_large_loss_that_is_allowed_may_be_large_halfway() -> None:
    allowed = Goal(floor=0.7, whole=0.9, images=10_000)
    assert not allowed.is_hopeless(0.55)  # 0.15 are missing of 0.35 that are lost
    assert allowed.is_hopeless(0.45)  # 0.25 of 0.45


def test_a_training_is_judged_after_its_first_part() -> None:
    is_over = Limits(GOAL).after(epochs=8)
    assert [is_over([0.5] * done) for done in range(1, 6)] == [False, False, False, True, True]
    assert not is_over([0.5, 0.5, 0.5, 0.895])


def test_one_that_holds_ends_when_it_gets_no_better_for_a_quarter_of_its_epochs() -> None:
    is_over = Limits(GOAL).after(epochs=8)
    assert not is_over([0.91])
    assert not is_over([0.91, 0.90])
    assert is_over([0.91, 0.90, 0.91])
    assert not is_over([0.91, 0.90, 0.92])


def test_without_a_goal_all_epochs_are_trained_and_short_trainings_always() -> None:
    assert not Limits().after(epochs=8)([0.1] * 7)
    assert not Limits(GOAL).after(epochs=3)([0.1, 0.1])


def test_no_epoch_begins_after_the_deadline() -> None:
    assert Limits(deadline=time.monotonic() - 1).after(epochs=8)([0.95])
    assert not Limits(deadline=time.monotonic() + 60).after(epochs=8)([0.95])


def test_a_training_is_divided_unless_there_is_little_to_divide() -> None:
    assert [parts(epochs) for epochs in (1, 3, 4, 5)] == [[1], [3], [2, 4], [3, 5]]
    assert parts(8, goes_on=True) == [2, 4, 8]


def test_the_more_epochs_are_left_the_more_can_come_back() -> None:
    assert GOAL.is_hopeless(0.86, left=0.5)
    assert not GOAL.is_hopeless(0.86, left=0.75)
