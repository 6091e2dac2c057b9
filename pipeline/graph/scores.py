"""What the scores of a classifier mean: the class of an image, and how probable each class is.

Every part of the project that asks for the class of an image, or for a probability per class, asks
here. A network of two classes may have one output alone: the probability of the second class.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

# softmax: [N, K], at least 0, with a sum of one. shares: the same with another sum that is always
# the same, as of two heads that are added up. sigmoids: [N, K], each 0..1 by itself. sigmoid:
# [N, 1], the probability of the second of two classes. logits: anything else.
Kind = Literal["softmax", "shares", "sigmoids", "sigmoid", "logits"]
Scores = npt.NDArray[np.floating]
INDEPENDENT = ("sigmoids", "sigmoid")  # kinds that are learned by binary cross-entropy
HALF = 0.5  # probability above which one output means the second class
LEAST = 1e-3  # a sum that is no more than this says nothing


def classes(scores: Scores) -> npt.NDArray[np.intp]:
    """The class of each image: that of the highest score, of one output whether it is above 0.5.

    Args:
        scores: `[..., K]`; `[..., 1]` for one output.

    >>> classes(np.array([[0.2, 0.8], [0.9, 0.1]])), classes(np.array([[0.2], [0.9]]))
    (array([1, 0]), array([0, 1]))
    """
    if scores.shape[-1] == 1:
        return np.asarray(scores[..., 0] > HALF).astype(np.intp)
    return np.asarray(np.argmax(scores, axis=-1))


def each(scores: Scores) -> Scores:
    """A score for every class, `[..., K]`; one output `p` becomes `1 - p` and `p`.

    >>> each(np.array([[0.25]]))
    array([[0.75, 0.25]])
    """
    if scores.shape[-1] != 1:
        return scores
    return np.asarray(np.concatenate([1 - scores, scores], axis=-1))


def shares(scores: Scores) -> Scores:
    """A score for every class, scaled where they do not sum to one, so that they do."""
    found = each(scores)
    sums = np.sum(found, axis=-1, keepdims=True)
    if np.all(np.abs(sums - 1) <= LEAST):
        return found
    return np.asarray(found / np.maximum(sums, np.finfo(np.float32).tiny))


def fit(outputs: int, num_classes: int) -> bool:
    """Whether a network of so many outputs tells so many classes apart."""
    return outputs == num_classes or (outputs, num_classes) == (1, 2)


def kind(scores: Scores, tolerance: float = LEAST) -> Kind:
    """What kind of scores these are, judged by their values for several different images.

    Args:
        scores: `[N, K]`; rows that are not finite do not count.
        tolerance: Difference of a value or a sum that may be rounding.

    >>> kind(np.array([[0.2, 0.8], [0.9, 0.1]])), kind(np.array([[0.2, 0.3], [0.9, 0.7]]))
    ('softmax', 'sigmoids')
    >>> kind(np.array([[0.3], [0.9]])), kind(np.array([[-0.3, 1.2], [0.9, 0.7]]))
    ('sigmoid', 'logits')
    """
    rows = scores[np.all(np.isfinite(scores), axis=-1)].astype(np.float64)
    if not len(rows) or rows.min() < -tolerance:
        return "logits"
    sums = rows.sum(axis=-1)
    constant = np.ptp(sums) <= 2 * tolerance * max(1.0, float(sums.max())) and sums.min() > LEAST
    if rows.shape[-1] > 1 and constant:
        return "softmax" if abs(sums.mean() - 1) <= tolerance else "shares"
    if rows.max() > 1 + tolerance:
        return "logits"
    return "sigmoid" if rows.shape[-1] == 1 else "sigmoids"


def text(found: Kind, class_names: Sequence[str]) -> str:
    """What scores of that kind are, in words."""
    if found == "sigmoid":
        first, second = class_names
        return f"probability of class {second!r}; that of {first!r} is one minus it"
    return {
        "softmax": "probability of each class",
        "shares": "score of each class; they do not sum to one",
        "sigmoids": "independent score of each class; they do not sum to one",
        "logits": "score of each class, which is no probability",
    }[found]
