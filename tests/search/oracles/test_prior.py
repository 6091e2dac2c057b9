"""Random search near what is usual."""

import math
from pathlib import Path

from support.oracle_search import Search, cost, values_of

LIKELY = {"family": "wide", "rate": 1e-3}


def test_the_first_network_is_the_usual_one(tmp_path: Path) -> None:
    for seed in range(4):
        place = tmp_path / f"trials{seed}"
        search = Search(place, 1, math.inf, oracle="prior", likely=LIKELY, seed=seed)
        assert values_of(search.run())[0]["rate"] == 1e-3


def test_networks_are_as_large_as_the_budget_allows(tmp_path: Path) -> None:
    oracle = Search(tmp_path / "trials", 20, 700, oracle="prior", likely=LIKELY).run()
    costs = [cost(values) for values in values_of(oracle)]
    assert {*costs} <= {640, 500, 270}  # a network of 270 grows to 500 by way of a smaller one
    assert costs.count(270) <= 4


def test_rates_lie_near_the_usual_one(tmp_path: Path) -> None:
    oracle = Search(tmp_path / "trials", 60, math.inf, oracle="prior", likely=LIKELY).run()
    away = [abs(math.log10(values["rate"]) + 3) for values in values_of(oracle)]
    assert sum(one < 0.5 for one in away) > 40
    assert max(away) > 0.5
