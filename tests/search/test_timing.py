"""The time of a search: what is left, what fits, and what is kept for choosing."""

import time
from typing import Any

import pytest

from pipeline.search.oracles.base import Span
from pipeline.search.timing import FINALIST, SAFETY, Timing


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
