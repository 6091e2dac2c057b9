"""Which classes are taken for which, and precision, recall and F1 of each."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.details import ClassRow
from pipeline.objective import Labels

Counts = npt.NDArray[np.integer[Any]]


def table(labels: Labels, named: Labels, classes: int) -> Counts:
    """How many images of each class (rows) were named as each class (columns), `[K, K]`.

    >>> table(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    cells = np.bincount(labels.astype(np.int64) * classes + named, minlength=classes**2)
    return np.asarray(cells.reshape(classes, classes))


def sparse(counts: Counts) -> list[tuple[int, int, int]]:
    """The cells that are not zero: class, what it was named, number of images."""
    return [(int(i), int(k), int(counts[i, k])) for i, k in np.argwhere(counts)]


def dense(cells: Sequence[Sequence[int]], classes: int) -> Counts:
    """The whole table of what `sparse` made."""
    counts = np.zeros((classes, classes), np.int64)
    for label, named, images in cells:
        counts[label, named] = images
    return counts


def per_class(counts: Counts, names: Sequence[str]) -> list[ClassRow]:
    """Recall (the accuracy on the images of a class), precision and F1 of each class.

    With `t` images of a class named right, `n` images of it and `m` that were named so, recall is
    `t / n`, precision `t / m` and F1 `2 t / (n + m)`; None where nothing is divided by.
    """
    rows: list[ClassRow] = []
    for i, name in enumerate(names):
        right, own, named = int(counts[i, i]), int(counts[i].sum()), int(counts[:, i].sum())
        rows.append(
            {
                "class": name,
                "test_accuracy": right / own if own else None,
                "test_images": own,
                "precision": right / named if named else None,
                "f1": 2 * right / (own + named) if own + named else None,
            }
        )
    return rows


def mistakes(counts: Counts) -> list[tuple[int, int, int]]:
    """The pairs of classes that are confused, the most frequent first: class, named, images."""
    wrong = [(i, k, n) for i, k, n in sparse(counts) if i != k]
    return sorted(wrong, key=lambda cell: -cell[2])
