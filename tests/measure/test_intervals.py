"""Intervals: known values, and those of a bootstrap that draws images one by one."""

import time

import numpy as np
import pytest

from pipeline import objective
from pipeline.measure import intervals


def classified(images: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels of uneven classes, and probabilities that are often right."""
    rng = np.random.default_rng(seed)
    shares = np.arange(classes, 0, -1) ** 2.0
    labels = rng.choice(classes, images, p=shares / shares.sum())
    powers = np.exp(rng.normal(size=(images, classes)) + 1.5 * np.eye(classes)[labels])
    return labels, powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("value", "images", "low", "high"),
    [
        (0.5, 10, 0.2366, 0.7634),  # Newcombe 1998, table I: 0.2366 to 0.7634 for 5 of 10
        (81 / 263, 263, 0.2553, 0.3662),  # the same: 81 of 263
        (1.0, 20, 0.8389, 1.0),
        (0.0, 20, 0.0, 0.1611),
    ],
)
def test_wilson_has_the_published_ends(value: float, images: int, low: float, high: float) -> None:
    found = intervals.wilson(value, images)
    assert found == pytest.approx((value, low, high), abs=1e-4)


@pytest.mark.slow
def test_the_ends_are_those_of_drawing_images_one_by_one() -> None:
    labels, scores = classified(120, 3)
    rng = np.random.default_rng(1)
    classes = [np.flatnonzero(labels == k) for k in range(3)]
    drawn: dict[str, list[float]] = {name: [] for name in objective.NAMES[1:]}
    for _ in range(200):
        rows = np.concatenate([rng.choice(own, len(own)) for own in classes])
        for name, values in drawn.items():
            values.append(objective.measured(name, labels[rows], scores[rows]))  # type: ignore[arg-type]
    found = intervals.every(labels, scores)
    for name, values in drawn.items():
        low, high = np.percentile(values, (2.5, 97.5))
        width = high - low
        assert found[name] == pytest.approx((found[name].value, low, high), abs=0.2 * width)  # type: ignore[index]


def test_the_value_of_every_score_is_within_its_interval() -> None:
    labels, scores = classified(60, 4, seed=3)
    for name, (value, low, high) in intervals.every(labels, scores).items():
        assert 0 <= low <= value <= high <= 1
        assert value == objective.measured(name, labels, scores)


def test_the_same_images_have_the_same_intervals() -> None:
    labels, scores = classified(50, 3)
    assert intervals.every(labels, scores) == intervals.every(labels, scores)


def test_a_class_that_no_image_has_and_one_that_is_never_named_do_not_matter() -> None:
    labels, scores = np.array([0, 0, 0, 3]), np.eye(5)[[0, 0, 1, 0]]
    found = intervals.every(labels, scores)
    assert found["balanced_accuracy"].value == pytest.approx(1 / 3)
    assert found["macro_f1"].low <= found["macro_f1"].value == pytest.approx(2 / 3 / 2)


def test_ten_thousand_images_of_ten_classes_take_less_than_a_second() -> None:
    labels, scores = classified(10_000, 10)
    objective.measured("auc", labels, scores)  # imports
    began = time.process_time()
    intervals.every(labels, scores)
    assert time.process_time() - began < 1
