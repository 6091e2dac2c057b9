"""Budgets that hardly a network keeps: whatever is known to fit is found."""

from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import pytest
from support.families import slowly
from support.oracle_search import outcome

from pipeline.graph import complexity
from pipeline.search import oracles, repair
from pipeline.search.space import Space

SHAPE, CLASSES, TRIALS = (32, 32, 3), 10, 3


def macs(space: Space, values: Any) -> int:
    point = space.candidate(values)
    return complexity.count(point.family, point.arch, SHAPE, CLASSES).macs


def found(place: Path, family: str, oracle: str, least: float, most: float) -> list[float]:
    """MACs of a search's networks, as multiples of those of the cheapest."""
    space = Space((family,), learning_rates=(1e-3, 1e-2))
    cheapest = complexity.count(family, space.cheapest(family), SHAPE, CLASSES).macs

    def fits(values: Any) -> bool:
        return least <= macs(space, values) / cheapest <= most

    options = {"trials": TRIALS, "epochs": 9, "seed": 0}
    made = oracles.load(oracle)(space.hyperparameters(), fits, place, **options)
    while (trial := made.propose()) is not None:
        made.finish(trial, *outcome(0.5))
    fresh = [trial for trial in made.ended() if made.span(trial).parent is None]
    return [macs(space, trial.hyperparameters.values) / cheapest for trial in fresh]


@slowly()
@pytest.mark.parametrize("most", [1.0, 1.2])
def test_a_family_whose_cheapest_network_fits_completes_its_trials(
    tmp_path: Path, name: str, most: float
) -> None:
    costs = found(tmp_path / "trials", name, "random", 0, most)
    assert len(costs) == TRIALS
    assert max(costs) <= most


@pytest.mark.parametrize("oracle", oracles.names())
def test_every_oracle_completes_its_trials(tmp_path: Path, oracle: str) -> None:
    assert found(tmp_path / "trials", "lenet", oracle, 0, 1.0) == [1.0] * TRIALS


@pytest.mark.slow
def test_a_narrow_band_above_the_cheapest_is_found(tmp_path: Path) -> None:
    costs = found(tmp_path / "trials", "mobilenet", "random", 1.1, 1.3)
    assert len(costs) == TRIALS
    assert min(costs) >= 1.1


def small_space() -> keras_tuner.HyperParameters:
    hp = keras_tuner.HyperParameters()
    hp.Choice("family", ["a", "b"])
    choices = {"a/width": [1, 2, 4], "a/depth": [1, 2], "a/dropout": [0.0, 0.2], "b/depth": [1, 9]}
    for name, values in choices.items():
        hp.Choice(name, values)
    return hp


@pytest.mark.parametrize(("most", "width", "depth"), [(100, 4, 2), (4, None, None), (1, 1, 1)])
def test_a_network_grows_until_nothing_can_within_the_budget(
    most: int, width: int | None, depth: int | None
) -> None:
    hp, start = small_space(), {"family": "a", "a/width": 1, "a/depth": 1, "a/dropout": 0.0}
    for seed in range(20):
        made = repair.raised(
            *(hp, start, np.random.default_rng(seed)),
            lambda values: values["a/width"] * values["a/depth"] <= most,
        )
        assert made["a/dropout"] == 0.0  # which is no size
        size = made["a/width"] * made["a/depth"]
        assert size == min(most, 8)
        if width is not None:
            assert (made["a/width"], made["a/depth"]) == (width, depth)


def test_kernels_and_the_early_stride_grow_last() -> None:
    hp = keras_tuner.HyperParameters()
    hp.Choice("family", ["a"])
    choices = {"width": [1, 2], "depth_1": [1, 2], "kernel_1": [3, 5], "stem_stride": [2, 1]}
    for name, values in choices.items():
        hp.Choice(f"a/{name}", values)
    start = {"family": "a", **{f"a/{name}": values[0] for name, values in choices.items()}}

    def grown(steps: int, seed: int, in_turn: bool) -> set[str]:
        made = repair.raised(
            *(hp, start, np.random.default_rng(seed)),
            lambda values: sum(values[name] != start[name] for name in start) <= steps,
            in_turn,
        )
        return {name for name in start if made[name] != start[name]}

    assert all(grown(2, seed, True) == {"a/width", "a/depth_1"} for seed in range(20))
    assert any(grown(2, seed, False) == {"a/width", "a/kernel_1"} for seed in range(20))
    assert len(grown(3, 0, True)) == 3


def test_a_walk_goes_down_to_the_cheapest_and_up_to_the_dearest() -> None:
    hp = keras_tuner.HyperParameters()
    hp.Choice("family", ["a", "b"])
    for name, values in (("a/width", [1, 2, 4]), ("a/depth", [1, 2]), ("b/depth", [1, 9])):
        hp.Choice(name, values)
    hp.Float("rate", 0.1, 1.0)
    start = {"family": "a", "a/width": 2, "a/depth": 2, "rate": 0.5}
    walk = list(repair.walks(hp, start, np.random.default_rng(0)))
    lowest = {"family": "a", "a/width": 1, "a/depth": 1, "rate": 0.5}
    assert walk[1] == lowest
    assert walk[-1] == lowest | {"a/width": 4, "a/depth": 2}
    assert len(walk) == 2 + 3
