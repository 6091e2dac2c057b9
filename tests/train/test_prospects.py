"""When a training that has to reach a floor is given up, and when it is done."""

import time

from pipeline.objective import Goal
from pipeline.train.prospects import Limits

GOAL = Goal(floor=0.90, whole=0.92, images=400)  # two standard errors are 0.03 to 0.04
LIMITS = Limits(GOAL)


def test_a_training_is_given_up_after_half_of_its_epochs_if_the_rest_cannot_reach_the_floor() -> (
    None
):
    over = [LIMITS.is_over([0.8] * done, epochs=8) for done in range(1, 6)]
    assert over == [False, False, False, True, True]
    assert not LIMITS.is_over([0.8, 0.8, 0.8, 0.895], epochs=8)


def test_epochs_that_do_not_count_say_nothing() -> None:
    assert not LIMITS.is_over([0.95, 0.95, 0.8, 0.8], epochs=8, settle=4)
    assert not LIMITS.is_over([0.8] * 4, epochs=8, settle=4)
    assert LIMITS.is_over([0.95] * 4 + [0.8], epochs=8, settle=4)


def test_one_that_holds_ends_when_it_gets_no_better_for_a_quarter_of_its_epochs() -> None:
    held = [0.5, 0.5, 0.5, 0.91]
    assert not LIMITS.is_over(held, epochs=8)
    assert not LIMITS.is_over([*held, 0.90], epochs=8)
    assert LIMITS.is_over([*held, 0.90, 0.91], epochs=8)
    assert not LIMITS.is_over([*held, 0.90, 0.915], epochs=8)


def test_one_that_has_lost_nothing_ends_after_half_of_its_epochs() -> None:
    assert not LIMITS.is_over([0.93] * 3, epochs=8)
    assert LIMITS.is_over([0.93] * 4, epochs=8)


def test_without_a_goal_all_epochs_are_trained_and_few_always() -> None:
    assert not Limits().is_over([0.1] * 7, epochs=8)
    assert not LIMITS.is_over([0.1, 0.1], epochs=3)


def test_no_epoch_begins_after_the_deadline() -> None:
    assert Limits(deadline=time.monotonic() - 1).is_over([0.95], epochs=8)
    assert not Limits(deadline=time.monotonic() + 60).is_over([0.95], epochs=8)
