"""How sure a score is: an interval of 95%, for the images that it was measured on.

Accuracy is a share of independent images: Wilson's interval, which holds for few images and near 0
and 1 as well. The other scores are resampled: within each class, as many images as it has are drawn
with replacement, 1,000 times. For scores of classes a draw is a row of the table of labels and
answers, which a multinomial distribution gives without drawing images one by one. AUC is resampled
as the sum of what each image contributes to it, which differs from it by terms of second order.

Source:  Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953; Efron & Tibshirani 1993,
         section 13.3 (percentiles); DeLong et al. 1988, https://doi.org/10.2307/2531595.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from pipeline import objective
from pipeline.details import Objective
from pipeline.graph import scores as score
from pipeline.objective import Labels

QUANTILE = 1.959964  # of the normal distribution, at 97.5%
PERCENTILES = (2.5, 97.5)
RESAMPLES = 1000
SEED = 0
AT_ONCE = 2**22  # images drawn at a time

Floats = npt.NDArray[np.floating[Any]]


class Interval(NamedTuple):
    """A score, 0..1, and the interval that holds the true one in 95% of all cases."""

    value: float
    low: float
    high: float


def wilson(value: float, images: int) -> Interval:
    """The interval of an accuracy.

    With the accuracy `p` of `n` images and the quantile `z` its ends are
    `(p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)`.

    >>> [round(end, 4) for end in wilson(0.9, 100)]
    [0.9, 0.8256, 0.9448]
    """
    square = QUANTILE**2 / images
    centre = value + square / 2
    half = QUANTILE * math.sqrt(value * (1 - value) / images + square / (4 * images))
    low, high = ((centre + sign * half) / (1 + square) for sign in (-1, 1))
    return Interval(value, max(0.0, min(low, value)), min(1.0, max(high, value)))


def every(labels: Labels, scores: score.Scores) -> dict[Objective, Interval]:
    """All four scores of a classifier on some images, each with its interval.

    Args:
        labels: Numbers of the classes, `[N]`.
        scores: As `pipeline.objective.measured` takes them, `[N, K]`.
    """
    found = {name: objective.measured(name, labels, scores) for name in objective.NAMES}
    drawn = {
        **_of_classes(labels, score.classes(scores)),
        "auc": _auc(labels, objective.comparable(scores)),
    }
    made = {"accuracy": wilson(found["accuracy"], len(labels))}
    for name, values in drawn.items():
        low, high = np.percentile(values, PERCENTILES)
        value = found[name]  # type: ignore[index]
        made[name] = Interval(value, min(float(low), value), max(float(high), value))
    return {name: made[name] for name in objective.NAMES}


def _of_classes(labels: Labels, found: Labels) -> dict[str, Floats]:
    """Balanced accuracy and macro F1 of every resample, from the table of labels and answers."""
    rng = np.random.default_rng(SEED)
    count = int(max(labels.max(), found.max())) + 1
    right = np.zeros((RESAMPLES, count))
    named = np.zeros((RESAMPLES, count))  # images that were taken for each class
    sizes = np.bincount(labels, minlength=count)
    for k in np.flatnonzero(sizes):
        row = np.bincount(found[labels == k], minlength=count)
        drawn = rng.multinomial(sizes[k], row / sizes[k], size=RESAMPLES)
        right[:, k] = drawn[:, k]
        named += drawn
    present = sizes > 0
    recalls = right[:, present] / sizes[present]
    f1 = 2 * right[:, present] / (sizes[present] + named[:, present])
    return {"balanced_accuracy": recalls.mean(axis=1), "macro_f1": f1.mean(axis=1)}


def _auc(labels: Labels, scores: score.Scores) -> Floats:
    """AUC of every resample.

    For class `k` an image of `k` contributes the share of the others that it is above, and one of
    another class the share of images of `k` that it is below. The AUC of a resample is that of all
    images, plus the mean change that the drawn images make to each of these two means.
    """
    present, sizes = np.unique(labels, return_counts=True)
    if len(present) < 2:
        return np.full(RESAMPLES, 0.5)
    shares = np.zeros(len(labels))  # what an image adds to the mean over the classes, per draw
    for k, size in zip(present, sizes, strict=True):
        own = labels == k
        ranks, rest = rankdata(scores[:, k]), len(labels) - size
        above = (ranks[own] - rankdata(scores[own, k])) / rest
        below = 1 - (ranks[~own] - rankdata(scores[~own, k])) / size
        shares[own] += (above - above.mean()) / size
        shares[~own] += (below - below.mean()) / rest
    changes = np.zeros(RESAMPLES)
    rng = np.random.default_rng(SEED)
    for k in present:
        changes += _sums(shares[labels == k] / len(present), rng)
    whole = objective.measured("auc", labels, scores)
    return np.clip(whole + changes, 0.0, 1.0)


def _sums(values: Floats, rng: np.random.Generator) -> Floats:
    """Sum of as many values as there are, drawn with replacement, for every resample."""
    size = len(values)
    rows = max(1, AT_ONCE // size)
    parts = [
        values[rng.integers(size, size=(min(rows, RESAMPLES - at), size))].sum(axis=1)
        for at in range(0, RESAMPLES, rows)
    ]
    return np.concatenate(parts)
