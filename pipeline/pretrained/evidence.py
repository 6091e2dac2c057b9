"""What the scores of a network tell of two ways of showing it the same images, image by image."""

from typing import Any

import numpy as np
import numpy.typing as npt

SMOOTHING = 0.01  # label smoothing s, see `surprises`
LEAST = 1e-30  # smaller probabilities count as this, so that their logarithm is finite
FEW = 30  # images below this are no evidence
CERTAIN = 3.0  # standard errors by which train images have to surprise less

Array = npt.NDArray[Any]


def surprises(scores: Array, labels: Array) -> Array:
    """Cross-entropy of the class scores of each image with label smoothing, `[N]`.

    Pixels that are too small leave every class about as probable; pixels that are too large make
    scores of exactly 0 and 1, which smoothed labels hold against them even where all are right.

    `-sum_k ((1 - s) [k = label] + s / K) log p_k`, with `s = 0.01` and `p` at least 1e-30.

    Args:
        scores: Probabilities `[N, K]`.
        labels: `[N]`.

    >>> rows = np.array([[[0.5, 0.5]], [[0.99, 0.01]], [[1.0, 0.0]]])
    >>> [round(float(surprises(row, np.array([0]))[0]), 2) for row in rows]
    [0.69, 0.03, 0.35]
    """
    logs = np.log(np.clip(scores.astype(np.float64), LEAST, None))
    right = np.take_along_axis(logs, labels[:, None].astype(np.int64), axis=-1)[:, 0]
    return np.asarray(-(1 - SMOOTHING) * right - SMOOTHING * logs.mean(axis=-1))


def fits_better(first: Array, second: Array, labels: Array, val: int) -> bool:
    """Whether the first of two scores shows a network what it was trained on, though both do well.

    A network fits its train images best as it saw them: more of them are right, and their
    labels surprise it clearly less. More contrast alone makes a network surer as well, but then the
    labels of val images, of which more are wrong, surprise it more.

    Args:
        first: Probabilities `[N, K]`, of `val` val images and then of train images.
        second: Of the same images, shown in another way.
        labels: `[N]`.
        val: Number of val images.
    """
    if min(val, len(labels) - val) < FEW:
        return False
    hits, others = (one.argmax(axis=-1) == labels for one in (first, second))
    gained, lost = int(np.sum((hits & ~others)[val:])), int(np.sum((others & ~hits)[val:]))
    if hits[:val].sum() < others[:val].sum() or gained - lost <= np.sqrt(gained + lost):
        return False
    less = surprises(second, labels) - surprises(first, labels)
    train = less[val:]
    clear = CERTAIN * train.std() / np.sqrt(len(train))
    return bool(train.mean() > clear and less[:val].mean() > 0)
