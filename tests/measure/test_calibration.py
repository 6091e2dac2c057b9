"""Reliability, temperature and threshold, on scores whose right values are known."""

import numpy as np
import pytest

from pipeline.measure import calibration

RNG = np.random.default_rng(0)


def drawn(count: int = 20_000, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and labels drawn from them: calibrated by construction."""
    logits = RNG.normal(0, 2, (count, classes))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (shares.cumsum(axis=1) > RNG.uniform(size=(count, 1))).argmax(axis=1)
    return labels, shares


def test_bins_hold_their_upper_ends_and_count_every_image() -> None:
    sure = np.array([0.5, 0.51, 1.0, 0.6])
    rows = calibration.reliability(sure, np.array([True, False, True, True]), bins=2)
    assert rows == [
        {"low": 0.0, "high": 0.5, "images": 1, "sure": 0.5, "accuracy": 1.0},
        {"low": 0.5, "high": 1.0, "images": 3, "sure": pytest.approx(2.11 / 3), "accuracy": 2 / 3},
    ]
    # 1/4 |1 - 0.5| + 3/4 |2/3 - 2.11/3|
    assert calibration.expected_error(rows) == pytest.approx(0.125 + 0.25 * 0.11)


def test_what_is_right_as_often_as_it_says_has_no_calibration_error() -> None:
    labels, shares = drawn()
    rows = calibration.reliability(shares.max(axis=1), shares.argmax(axis=1) == labels)
    assert calibration.expected_error(rows) < 0.015
    assert sum(row["images"] for row in rows) == len(labels)


@pytest.mark.parametrize("hot", [0.5, 1.0, 2.5])
def test_the_temperature_that_scores_were_made_with_is_found(hot: float) -> None:
    labels, shares = drawn()
    sharpened = calibration.tempered(shares, 1 / hot)
    found = calibration.temperature(labels, sharpened)
    assert found == pytest.approx(hot, rel=0.06)
    own = calibration.tempered(sharpened, found).max(axis=1)
    hits = sharpened.argmax(axis=1) == labels
    assert calibration.expected_error(calibration.reliability(own, hits)) < 0.02


def test_a_temperature_is_what_logits_are_divided_by() -> None:
    logits = np.array([[1.0, -0.5, 0.3], [0.2, 1.2, -0.7]])
    halved = np.exp(logits / 2) / np.exp(logits / 2).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(calibration.tempered(logits, 2.0), halved, rtol=1e-6)


def test_independent_scores_stay_independent() -> None:
    sigmoids = np.array([[0.9, 0.8], [0.1, 0.3]])
    logits = np.log(sigmoids / (1 - sigmoids)) / 2
    np.testing.assert_allclose(calibration.tempered(sigmoids, 2.0), 1 / (1 + np.exp(-logits)))


def test_a_threshold_keeps_95_of_100_known_images() -> None:
    val = np.arange(1, 101) / 100
    found = calibration.threshold(val, np.array([0.01, 0.04, 0.05, 0.5, 1.0]))
    assert np.sum(val >= found["threshold"]) >= 95
    assert np.sum(val > found["threshold"]) < 96
    assert found["kept"] == pytest.approx(3 / 5, abs=0.21)
