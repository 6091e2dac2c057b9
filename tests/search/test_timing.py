"""The time of a search: what is left, what fits, and what is kept for choosing."""

import time
from typing import Any

import pytest

from pipeline.search import timing as module
from pipeline.search.oracles.base import Span
from pipeline.search.timing import FINALIST, HALVING, SAFETY, START, WHOLE, Timing, long_enough


def row(trial_id: str, epochs: int, each: float, start: float) -> dict[str, Any]:
    return {
        "trial_id": trial_id,
        "history": {"val/loss": [1.0] * epochs},
        "epoch_seconds": each,
        "seconds": start + each * epochs,
    }


def test_without_a_limit_everything_fits() -> None:
    timing = Timing([row("0", 2, 100.0, 1.0)])
    assert not timing.limited
    assert not timing.is_up()
    assert timing.deadline() is None
    assert timing.affordable(Span(0, 30), None) == 30
    assert timing.fits(None, (1000, 1000))


def test_the_nearer_of_both_ends_counts() -> None:
    now = time.monotonic()
    assert Timing([], seconds=50.0, until=now + 90).left() == pytest.approx(50, abs=0.5)
    assert Timing([], seconds=90.0, until=now + 50).left() == pytest.approx(50, abs=0.5)


def test_an_interrupted_run_counts_for_the_minutes_of_the_search_alone() -> None:
    timing = Timing([], seconds=50.0, until=time.monotonic() + 45)
    timing.before = 20.0
    assert timing.left() == pytest.approx(30, abs=0.5)
    timing.seconds = None
    assert timing.left() == pytest.approx(45, abs=0.5)


def test_time_is_kept_for_the_finalists() -> None:
    until = time.monotonic() + 100
    assert Timing([], until=until, after=3).left() == pytest.approx(100 - 3 * FINALIST, abs=0.5)
    slow = Timing([row("0", 2, 1.0, 12.0)], until=until, after=3)
    assert slow.left() == pytest.approx(100 - 3 * 12, abs=0.5)


def test_half_a_round_ends_at_half_of_the_time() -> None:
    timing = Timing([], until=time.monotonic() + 80, part=0.5)
    assert timing.left() == pytest.approx(40, abs=0.5)
    assert timing.deadline() == pytest.approx(time.monotonic() + 40, abs=0.5)


def test_what_fits_follows_from_the_trials_so_far() -> None:
    timing = Timing([row("0", 2, 4.0, 3.0), row("1", 2, 2.0, 3.0)], seconds=100.0)
    assert timing.pace(None) == (3.0, 3.0)
    assert timing.pace("1") == (3.0, 2.0)
    timing.around.append(1.0)
    assert timing.pace("1") == (4.0, 2.0)
    assert timing.fits("1", (10, 20))
    assert not timing.fits("0", (10, 20))
    assert timing.affordable(Span(0, 90), "1") == int((SAFETY * timing.left() - 4) / 2)
    assert timing.foreseen(9) == 2 + int(timing.left() / (4 + 9 * 3))
    timing.before = 94.0
    assert timing.is_up()


def test_a_unit_lets_the_planned_trials_fit_into_the_time() -> None:
    until = time.monotonic() + 1000
    for (units, starts), workers in ((HALVING, 1), (HALVING, 2), (WHOLE, 1)):
        timing = Timing([], until=until)
        timing.divide((units, starts), workers, 1e9)
        took = (units * (timing.unit or 0) + starts * START) / workers
        assert took == pytest.approx(SAFETY * 1000, abs=1)
    timing.divide(HALVING, 1, 12.5)
    assert timing.unit == 12.5
    short = Timing([], until=time.monotonic() + 5)
    short.divide(HALVING, 1, 1e9)
    assert short.unit == 1.0


def test_the_brackets_of_hyperband_are_those_that_are_planned() -> None:
    first, goes_on, second = 3 * 2, 1 * 4, 2 * 6
    assert (first + goes_on + second, 3 + 1 + 2) == HALVING
    assert WHOLE == (12 * 6, 12)


def test_slices_are_as_long_as_the_epochs_that_they_stand_for() -> None:
    timing = Timing([], until=time.monotonic() + 1000)
    assert timing.slice(Span(0, 2)) is None
    timing.unit = 10.0
    assert timing.slice(Span(0, 2)) == 20
    assert timing.slice(Span(2, 6)) == 40
    # this trial took 11 s to start and 20 s of training, however long its epochs were
    timing.rows.append(row("0", 1, 300.0, 0.0) | {"seconds": 31.0, "slice_seconds": 20.0})
    assert timing.pace("0") == (11.0, 10.0)
    timing.until = time.monotonic() + 30
    assert timing.slice(Span(2, 6)) == pytest.approx(30 - 11, abs=0.5)


def test_a_unit_need_not_be_longer_than_makes_a_network_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module.speed, "flops_per_second", lambda: 1e9)
    assert long_enough(2e6, 1000) == pytest.approx(30 * 1000 * 3 * 2e6 / 2e9)
