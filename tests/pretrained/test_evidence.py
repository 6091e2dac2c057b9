"""Train images tell which of two ways of showing images a network was trained on."""

from typing import Any

import numpy as np
import pytest

from pipeline.pretrained import evidence

VAL, TRAIN = 200, 300
LABELS = np.arange(VAL + TRAIN) % 2


def scores(val: float, train: float, sure: float, seed: int = 0) -> Any:
    """Probabilities with these fractions of right images; all of them as sure."""
    rng = np.random.default_rng(seed)
    right = np.concatenate(
        [rng.permutation(VAL) < val * VAL, rng.permutation(TRAIN) < train * TRAIN]
    )
    second = np.where(right == (LABELS == 1), sure, 1 - sure)
    return np.stack([1 - second, second], axis=-1)


OWN = scores(0.75, 0.80, 0.74)


@pytest.mark.parametrize(
    ("first", "second", "val", "better"),
    [
        (OWN, scores(0.74, 0.75, 0.54), VAL, True),  # seen with ImageNet's pixels beside -1..1
        (scores(0.76, 0.75, 0.97), OWN, VAL, False),  # surer, and fewer train images are right
        (scores(0.76, 0.85, 0.97), OWN, VAL, False),  # surer, and wrong scores surprise more
        (scores(0.70, 0.80, 0.74), scores(0.74, 0.75, 0.54), VAL, False),  # fewer val images
        (OWN, OWN, VAL, False),
        (OWN, scores(0.74, 0.75, 0.54), VAL + TRAIN, False),  # no train images
    ],
)
def test_the_way_with_which_more_was_learned_is_told_from_more_contrast(
    first: Any, second: Any, val: int, better: bool
) -> None:
    assert evidence.fits_better(first, second, LABELS, val) == better


def test_the_surprise_of_an_image_is_its_smoothed_cross_entropy() -> None:
    found = evidence.surprises(np.array([[0.25, 0.75], [1.0, 0.0]]), np.array([1, 1]))
    logs = np.log([0.25, 0.75])
    assert found[0] == pytest.approx(-0.99 * logs[1] - 0.005 * logs.sum())
    assert np.isfinite(found[1])
