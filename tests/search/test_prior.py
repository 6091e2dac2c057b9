"""What is usual: likely values are drawn most often, and a space that lacks them has others."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from keras_tuner.engine.hyperparameters import Choice, Float

from pipeline.data import datasets
from pipeline.data.datasets import DataConfig
from pipeline.search.prior import SURE, WIDTH, Prior, usual
from pipeline.search.space import Space

ORDERED = Choice("depth", [1, 2, 3, 4])
NAMES = Choice("optimizer", ["sgd", "adam", "rmsprop"])
RATE = Float("rate", 1e-4, 1e-1, sampling="log")
PRIOR = Prior({"depth": 2, "optimizer": "adam", "rate": 1e-2})
DRAWS = range(4000)


def shares(hp: Any) -> dict[Any, float]:
    found = Counter(PRIOR.draw(hp, seed) for seed in DRAWS)
    return {value: count / len(DRAWS) for value, count in found.items()}


def test_the_likely_value_is_drawn_most_and_its_neighbours_more_than_those_far_away() -> None:
    found = shares(ORDERED)
    assert found[2] == pytest.approx(SURE, abs=0.03)
    assert found[1] == pytest.approx(found[3], abs=0.03)
    assert found[4] == pytest.approx(found[3] / 2, abs=0.03)


def test_names_have_no_neighbours() -> None:
    found = shares(NAMES)
    assert found["adam"] == pytest.approx(SURE, abs=0.03)
    assert found["sgd"] == pytest.approx(found["rmsprop"], abs=0.03)


def test_numbers_lie_around_the_likely_one_in_log() -> None:
    drawn = np.array([RATE.value_to_prob(PRIOR.draw(RATE, seed)) for seed in DRAWS])
    assert np.median(drawn) == pytest.approx(2 / 3, abs=0.03)
    assert 0.5 * WIDTH < drawn.std() < WIDTH
    assert drawn.min() >= 0
    assert drawn.max() <= 1


def test_a_choice_without_a_likely_value_is_drawn_evenly() -> None:
    other = Choice("kernel", [3, 5])
    assert Counter(PRIOR.draw(other, seed) for seed in DRAWS)[3] == pytest.approx(2000, abs=150)
    assert PRIOR.density(other, 5) == 1.0


@pytest.mark.parametrize("hp", [ORDERED, NAMES])
def test_densities_of_a_choice_have_the_mean_one(hp: Any) -> None:
    assert np.mean([PRIOR.density(hp, value) for value in hp.values]) == pytest.approx(1)


def test_the_density_of_a_number_has_the_mean_one_over_its_range() -> None:
    values = [RATE.prob_to_value(place) for place in (np.arange(500) + 0.5) / 500]
    assert np.mean([PRIOR.density(RATE, v) for v in values]) == pytest.approx(1, abs=0.01)


def test_a_point_of_likely_values_fits_best() -> None:
    space = [ORDERED, NAMES, RATE]
    near = PRIOR.fit(space, {"depth": 2, "optimizer": "adam", "rate": 1e-2})
    far = PRIOR.fit(space, {"depth": 4, "optimizer": "sgd", "rate": 1e-4})
    assert near > 1 > far


def space(**changes: Any) -> Any:
    options = {
        "optimizers": ("adam", "nesterov"),
        "learning_rates": (5e-4, 3e-2),
        "penalties": ("none", "l2"),
        "batch_sizes": (16, 32, 64, 128),
        "augmentations": ("none", "crop", "light"),
    }
    return Space(("resnet",), **(options | changes)).hyperparameters()


@pytest.fixture(scope="module")
def digits() -> Any:
    return datasets.load(DataConfig(source="digits"), 0)


@pytest.mark.parametrize(("images", "batch", "rate"), [(50_000, 128, 0.2), (1200, 16, 0.025)])
def test_the_batch_leaves_enough_updates_and_the_rate_goes_with_it(
    digits: Any, images: int, batch: int, rate: float
) -> None:
    likely = usual(space(), digits, 18, images).likely
    assert likely["batch_size"] == batch
    assert likely["nesterov/learning_rate"] == pytest.approx(rate)
    assert likely["optimizer"] == "nesterov"
    assert likely["augmentation"] == "light"  # grey images
    assert likely["penalty"] == "l2"
    assert likely["resnet/init"] == "he_normal"


def test_where_the_usual_value_is_not_offered_the_next_one_or_none_is_likely(digits: Any) -> None:
    found = usual(space(optimizers=("rmsprop", "adam"), augmentations=("none",)), digits, 18)
    assert found.likely["optimizer"] == "adam"
    assert "augmentation" not in found.likely
    assert "nesterov/learning_rate" not in found.likely


def test_a_likely_number_outside_the_range_is_moved_to_its_end(digits: Any) -> None:
    found = usual(space(learning_rates=(1e-4, 1e-3)), digits, 18, 50_000)
    assert found.likely["nesterov/learning_rate"] == pytest.approx(1e-2)
    assert found.likely["adam/learning_rate"] == pytest.approx(1e-3)
