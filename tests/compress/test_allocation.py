"""How many zeros each kernel gets: uniform, by deviation, and by what it costs in accuracy."""

from typing import Any

import keras
import numpy as np
import pytest

from pipeline.compress import allocation
from pipeline.compress.kernels import Kernel
from pipeline.errors import ModelError


class Weights:
    """A kernel without a model."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values, np.float32)
        self.shape = self.values.shape

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.values


def kernel(name: str, values: Any) -> Kernel:
    return Kernel(name, keras.layers.Dense(1), Weights(values))


def mean(found: list[Kernel], targets: dict[str, float]) -> float:
    return float(np.average([targets[k.name] for k in found], weights=[k.size for k in found]))


def test_uniform_is_the_same_share_for_every_kernel() -> None:
    found = [kernel("a", np.ones((2, 2))), kernel("b", np.ones((9, 9)))]
    assert allocation.uniform(found, 0.3) == {"a": 0.3, "b": 0.3}


def test_kernels_that_lose_the_same_accuracy_get_the_zeros() -> None:
    found = [kernel("a", np.ones((10, 10))), kernel("b", np.ones((10, 30)))]
    curves = {
        "a": [(0.0, 0.9), (0.5, 0.9), (0.99, 0.2)],
        "b": [(0.0, 0.9), (0.4, 0.6), (0.99, 0.1)],
    }
    targets = allocation.by_sensitivity(found, 0.5, curves, images=10**6)
    lost = {
        name: 0.9 - np.interp(targets[name], *zip(*curve, strict=True))
        for name, curve in curves.items()
    }
    assert lost["a"] == pytest.approx(lost["b"], abs=1e-3)
    assert mean(found, targets) == pytest.approx(0.5)


def test_where_no_kernel_loses_anything_all_get_as_many_zeros() -> None:
    found = [kernel("a", np.ones((4, 4))), kernel("b", np.ones((4, 8)))]
    curves = {name: [(0.0, 0.9), (0.4, 0.91), (0.99, 0.9)] for name in "ab"}
    targets = allocation.by_sensitivity(found, 0.6, curves, images=100)
    assert targets == {"a": pytest.approx(0.6), "b": pytest.approx(0.6)}


def test_no_kernel_keeps_less_than_a_quarter_of_the_mean() -> None:
    found = [kernel("a", np.ones((10, 10))), kernel("b", np.ones((10, 100)))]
    curves = {"a": [(0.0, 0.9), (0.99, 0.9)], "b": [(0.0, 0.9), (0.99, 0.0)]}
    targets = allocation.by_sensitivity(found, 0.8, curves, images=100)
    assert targets["a"] == pytest.approx(0.95)
    assert mean(found, targets) == pytest.approx(0.8)


def test_the_threshold_of_a_kernel_is_its_deviation_times_the_quality() -> None:
    rng = np.random.default_rng(0)
    found = [
        kernel("narrow", rng.normal(0, 0.1, (40, 40))),
        kernel("wide", rng.uniform(-9, 9, (40, 40))),
    ]
    targets = allocation.by_deviation(found, quality=0.7)
    for one in found:
        weights = np.asarray(one.variable)
        assert targets[one.name] == np.mean(np.abs(weights) < 0.7 * weights.std())
    assert targets["narrow"] == pytest.approx(0.516, abs=0.03)  # of a normal distribution


def test_by_deviation_all_kernels_together_have_the_zeros_asked_for() -> None:
    rng = np.random.default_rng(0)
    found = [kernel("a", rng.normal(0, 5, (40, 40))), kernel("b", rng.uniform(-1, 1, (40, 10)))]
    targets = allocation.by_deviation(found, 0.8)
    assert mean(found, targets) == pytest.approx(0.8, abs=1 / 2000)
    assert targets["a"] != pytest.approx(targets["b"], abs=0.01)


def test_weights_that_are_zero_already_do_not_narrow_the_deviation() -> None:
    weights = np.random.default_rng(0).normal(0, 1, (50, 50))
    weights[:, :25] = 0
    targets = allocation.by_deviation([kernel("a", weights)], quality=0.5)
    alive = weights[:, 25:]
    assert targets["a"] == pytest.approx(0.5 + np.mean(np.abs(alive) < 0.5 * alive.std()) / 2)


def test_a_quality_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'a'.*Received: quality=9"):
        allocation.by_deviation([kernel("a", np.ones((3, 3))) for _ in "a"], quality=9)
