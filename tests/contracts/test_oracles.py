"""Every oracle: nothing over the budget becomes a trial, and a kill changes nothing."""

import math
from pathlib import Path
from typing import Any

import pytest
from support.oracle_search import Kill, Search, cost, rate_near_a_thousandth, values_of
from support.oracle_search import killed as killed

from pipeline.search import oracles

NAMES = oracles.names()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("seed", "budget"), [(0, 300), pytest.param(1, 640, marks=pytest.mark.slow)]
)
def test_in_100_trials_nothing_over_the_budget_is_proposed(
    tmp_path: Path, name: str, seed: int, budget: int
) -> None:
    seen: list[int] = []

    def score(trial: Any) -> float | None:
        seen.append(cost(trial.hyperparameters.values))
        return None if len(seen) % 5 == 0 else trial.hyperparameters.values["rate"]

    oracle = Search(tmp_path / "trials", 100, budget, seed=seed, oracle=name).run(score)
    assert len(seen) >= 100
    assert max(seen) <= budget
    assert oracle.refused > 0
    assert len(oracle.ended()) == len(oracle.trials) == len(seen)


@pytest.mark.parametrize("name", NAMES)
def test_a_lower_bound_is_kept_as_well(tmp_path: Path, name: str) -> None:
    search = Search(tmp_path / "trials", 30, 640, least=250, oracle=name)
    for trial in search.run().ended():
        assert 250 <= cost(trial.hyperparameters.values) <= 640


@pytest.mark.parametrize("name", NAMES)
def test_a_trial_has_only_the_values_that_are_active(tmp_path: Path, name: str) -> None:
    oracle = Search(tmp_path / "trials", 20, math.inf, oracle=name).run()
    for values in values_of(oracle):
        other = "deep" if values["family"] == "wide" else "wide"
        assert not [name for name in values if name.startswith(other)]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_and_scores_give_the_same_points(tmp_path: Path, name: str) -> None:
    searches = (Search(tmp_path / at, 20, 300, seed=5, oracle=name) for at in ("a", "b"))
    first, second = (search.run(rate_near_a_thousandth) for search in searches)
    assert values_of(first) == values_of(second)


@pytest.mark.parametrize("name", NAMES)
def test_the_search_ends_after_as_many_networks_as_asked_for(tmp_path: Path, name: str) -> None:
    search = Search(tmp_path / "trials", 7, math.inf, oracle=name)
    oracle = search.run()
    assert len([t for t in oracle.ended() if oracle.span(t).parent is None]) == 7
    assert search.oracle().propose() is None


@pytest.mark.parametrize("name", NAMES)
def test_an_exhausted_space_ends_the_search(tmp_path: Path, name: str) -> None:
    search = Search(tmp_path / "trials", 500, budget=90, continuous=False, oracle=name)
    oracle = search.run()
    fresh = [trial for trial in oracle.ended() if oracle.span(trial).parent is None]
    assert len(fresh) == 2  # width 2 costs 40, depth 1 with kernel 3 costs 90
    assert oracle.propose() is None


@pytest.mark.parametrize("name", NAMES)
def test_a_space_that_nothing_fits_ends_the_search_in_bounded_attempts(
    tmp_path: Path, name: str
) -> None:
    search = Search(tmp_path / "trials", 500, budget=1, attempts=60, oracle=name)
    oracle = search.run()
    assert oracle.ended() == []
    assert oracle.refused == len(search.asked) < 250


@pytest.mark.filterwarnings("ignore:All-NaN axis")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("score", [None, math.nan])
def test_trials_that_fail_one_after_the_other_do_not_end_the_search(
    tmp_path: Path, score: float | None, name: str
) -> None:
    results: list[float | None] = [score] * 5 + [0.75] * 9
    search = Search(tmp_path / "trials", 6, math.inf, oracle=name)
    oracle = search.run(lambda trial: results[int(trial.trial_id)])
    assert [trial.status for trial in oracle.ended()][:6] == ["FAILED"] * 5 + ["COMPLETED"]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(NAMES) - {"random"}))
@pytest.mark.parametrize("kills", [(7,), (51, 3)])
def test_a_killed_search_goes_on_as_if_it_had_not_been_killed(
    tmp_path: Path, killed: Kill, name: str, kills: tuple[int, ...]
) -> None:
    plain = Search(tmp_path / "plain", 20, 300, oracle=name).run(rate_near_a_thousandth)
    search = Search(tmp_path / "trials", 20, 300, oracle=name)
    for writes in kills:
        killed.allow(writes)
        with pytest.raises(KeyboardInterrupt):
            search.run(rate_near_a_thousandth)
    killed.allow(math.inf)
    assert values_of(search.run(rate_near_a_thousandth)) == values_of(plain)


@pytest.mark.parametrize("name", NAMES)
def test_a_cost_can_count_as_much_as_accuracy(tmp_path: Path, name: str) -> None:
    search = Search(tmp_path / "trials", 12, math.inf, oracle=name, against="flops")
    oracle = search.oracle()
    while (trial := oracle.propose()) is not None:
        values = trial.hyperparameters.values
        scores = {"val_accuracy": rate_near_a_thousandth(trial), "val_loss": 1.0}
        oracle.finish(trial, scores | {"flops": cost(values)}, None)
    best = oracle.best_first(oracle.ended())
    cheapest = min(cost(trial.hyperparameters.values) for trial in oracle.ended())
    most_accurate = max(trial.score for trial in oracle.ended())
    ends = [(cost(t.hyperparameters.values), t.score) for t in best[:2]]
    assert cheapest in [flops for flops, _ in ends]
    assert most_accurate in [score for _, score in ends]
