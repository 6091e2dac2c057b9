"""Bayesian optimization learns from the scores of earlier trials."""

from pathlib import Path

import pytest
from support.oracle_search import late_score


@pytest.mark.slow
def test_it_finds_better_points_than_chance(tmp_path: Path) -> None:
    assert late_score(tmp_path, "bayesian") > late_score(tmp_path, "random") + 0.2
