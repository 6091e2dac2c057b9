"""Non-dominated points, against their definition."""

import numpy as np
import pytest

from pipeline.search import pareto


@pytest.fixture(params=range(8))
def points(request: pytest.FixtureRequest) -> np.ndarray:
    """Random points, some of them equal in one respect or both."""
    rng = np.random.default_rng(request.param)
    return np.asarray(rng.integers(0, 6, (30, 2)).astype(float))


def dominates(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.all(one <= other) and np.any(one < other))


def test_a_point_is_on_the_front_unless_another_dominates_it(points: np.ndarray) -> None:
    for point, on_front in zip(points, pareto.front(points), strict=True):
        assert on_front == (not any(dominates(other, point) for other in points))


def test_no_point_comes_before_one_that_dominates_it(points: np.ndarray) -> None:
    order = pareto.order(points)
    assert sorted(order) == list(range(len(points)))
    for place, i in enumerate(order):
        assert not any(dominates(points[j], points[i]) for j in order[place + 1 :])


def test_the_ends_of_a_front_come_first() -> None:
    line = np.array([[float(x), 10.0 - x] for x in (5, 0, 4, 6, 10)])
    assert set(pareto.order(line)[:2]) == {1, 4}


def test_crowded_points_come_last() -> None:
    line = np.array([[0.0, 10], [5, 5], [5.5, 4.5], [6, 4], [10, 0]])
    assert pareto.order(line)[-1] == 2


def test_one_point_and_none_have_an_order() -> None:
    assert pareto.order(np.array([[1.0, 2.0]])) == [0]
    assert pareto.order(np.zeros((0, 2))) == []
