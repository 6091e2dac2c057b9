"""Hyperband: who goes on, for how many epochs, and what is left when time is short."""

import math
from pathlib import Path
from typing import Any

import pytest
from support.oracle_search import Search, outcome


def spans(oracle: Any) -> list[tuple[int, int, str | None]]:
    return [tuple(oracle.span(trial)) for trial in oracle.ended()]


def test_hyperband_gives_a_third_of_a_round_three_times_the_epochs(tmp_path: Path) -> None:
    search = Search(tmp_path / "trials", 9, math.inf, oracle="hyperband")
    oracle = search.run(lambda trial: int(trial.trial_id) / 100)
    assert spans(oracle) == [
        *[(0, 1, None)] * 9,
        *[(1, 3, "0008"), (1, 3, "0007"), (1, 3, "0006")],
        (3, 9, "0011"),
    ]


def test_a_promoted_trial_has_the_network_of_its_parent(tmp_path: Path) -> None:
    oracle = Search(tmp_path / "trials", 20, math.inf, oracle="hyperband").run()
    for trial in oracle.ended():
        values = trial.hyperparameters.values
        if parent := oracle.span(trial).parent:
            before = oracle.trials[parent].hyperparameters.values
            assert {k: v for k, v in values.items() if "tuner" not in k} == {
                k: v for k, v in before.items() if "tuner" not in k
            }


def test_later_brackets_begin_with_fewer_networks_and_more_epochs(tmp_path: Path) -> None:
    oracle = Search(tmp_path / "trials", 17, math.inf, oracle="hyperband").run()
    fresh = [(first, last) for first, last, parent in spans(oracle) if parent is None]
    assert fresh == [(0, 1)] * 9 + [(0, 3)] * 5 + [(0, 9)] * 3


def test_a_round_in_which_half_fail_still_promotes(tmp_path: Path) -> None:
    search = Search(tmp_path / "trials", 9, math.inf, oracle="hyperband")
    oracle = search.run(lambda trial: None if int(trial.trial_id) < 6 else 0.5)
    assert [last for _, last, _ in spans(oracle)] == [1] * 9 + [3] * 3 + [9]


def test_a_bracket_that_is_cut_short_promotes_a_third_of_what_it_has(tmp_path: Path) -> None:
    oracle = Search(tmp_path / "trials", 4, math.inf, oracle="hyperband").run()
    assert [last for _, last, _ in spans(oracle)] == [1] * 4 + [3] * 2 + [9]


@pytest.mark.parametrize(("haste", "ends"), [(1, [3, 9]), (2, [9])])
def test_in_haste_no_network_is_new_and_the_best_comes_to_the_end(
    tmp_path: Path, haste: int, ends: list[int]
) -> None:
    search = Search(tmp_path / "trials", 99, math.inf, oracle="hyperband")
    oracle = search.oracle()
    for score in (0.5, 0.7, 0.6):
        oracle.finish(oracle.propose(), *outcome(score))
    oracle.haste = haste
    while (trial := oracle.propose()) is not None:
        oracle.finish(trial, *outcome(0.8))
    assert [last for _, last, _ in spans(oracle)[3:]] == ends
    assert spans(oracle)[3][2] == "0001"


def test_what_is_ahead_is_the_next_trial_and_the_last(tmp_path: Path) -> None:
    search = Search(tmp_path / "trials", 99, math.inf, oracle="hyperband")
    oracle = search.oracle()
    seen = []
    for _ in range(14):
        seen.append(oracle.ahead())
        oracle.finish(oracle.propose(), *outcome(0.5))
    assert seen == [(1, 8)] * 9 + [(2, 6)] * 3 + [(6, 6)] + [(3, 6)]
    oracle.haste = 1
    assert oracle.ahead() == (6, 6)
