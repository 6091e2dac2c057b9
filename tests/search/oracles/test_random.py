"""Random search: every point is new, and a seed decides it."""

import json
import math
from pathlib import Path

import pytest
from support.oracle_search import Search, values_of


@pytest.mark.parametrize("seeds", [(0, 1), (1, 2)])
def test_other_seeds_draw_other_points(tmp_path: Path, seeds: tuple[int, int]) -> None:
    first, second = (Search(tmp_path / str(seed), 5, 300, seed=seed).run() for seed in seeds)
    assert values_of(first) != values_of(second)


def test_no_point_is_drawn_twice(tmp_path: Path) -> None:
    oracle = Search(tmp_path / "trials", 8, math.inf, continuous=False).run()
    assert len({json.dumps(values, sort_keys=True) for values in values_of(oracle)}) == 8
