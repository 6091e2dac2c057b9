"""What is maximized: the score of a classifier that every choice made on val images goes by.

A class that no label has is left out of a mean over classes, since nothing can be said of it.

Source:  Brodersen et al. 2010, https://doi.org/10.1109/ICPR.2010.764 (balanced accuracy); Opitz &
         Burst 2019, https://arxiv.org/abs/1911.03347 (macro F1, as the mean of F1);
         Provost & Domingos 2000, https://hdl.handle.net/2451/27763 (AUC of each class).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from pipeline.details import Objective
from pipeline.graph import scores as score

Labels = npt.NDArray[np.integer[Any]]
CERTAIN = 2.0  # standard errors of a score that are not chance
NAMES: tuple[Objective, ...] = get_args(Objective)
TITLES: Mapping[str, str] = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "auc": "AUC",
}
MEANINGS: Mapping[str, str] = {
    "accuracy": "images classified correctly",
    "balanced_accuracy": "the mean over the classes of the share of their images that is right",
    "macro_f1": "the mean over the classes of F1, which counts false alarms as well as misses",
    "auc": "the mean over the classes of the chance that an image of the class scores higher for "
    "it than an image of another class",
}


def measured(objective: Objective, labels: Labels, scores: score.Scores) -> float:
    """The score of a classifier on some images, 0..1.

    Args:
        objective: Which score.
        labels: Numbers of the classes, `[N]`.
        scores: What the classifier gives, `[N, K]`, or `[N, 1]` for two classes.

    >>> labels, scores = np.array([0, 0, 0, 1]), np.array([[0.9], [0.2], [0.4], [0.6]])
    >>> measured("accuracy", labels, scores), measured("auc", labels, scores)
    (0.75, 0.6666666666666667)
    """
    if objective == "auc":
        return _auc(labels, comparable(scores))
    found = score.classes(scores)
    if objective == "accuracy":
        return float(np.mean(found == labels))
    from sklearn import metrics  # it takes a second to import

    present = np.unique(labels)
    kinds = {"labels": present, "average": "macro", "zero_division": 0.0}
    if objective == "macro_f1":
        return float(metrics.f1_score(labels, found, **kinds))
    return float(metrics.recall_score(labels, found, **kinds))  # balanced_accuracy_score warns


def comparable(scores: score.Scores) -> score.Scores:
    """Scores `[N, K]` whose values for one class can be compared between images, as AUC does.

    Logits cannot: they tell the classes of one image apart. The softmax makes them shares.
    """
    each = score.each(scores)
    if scores.shape[-1] == 1 or score.kind(scores) != "logits":
        return each
    powers = np.exp(each - each.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _auc(labels: Labels, scores: score.Scores) -> float:
    """Mean over the classes of one against the rest; 0.5 where there is one class alone."""
    from sklearn import metrics

    present = np.unique(labels)
    if len(present) < 2:
        return 0.5
    return float(np.mean([metrics.roc_auc_score(labels == k, scores[:, k]) for k in present]))


def of_part(
    part: str, objective: Objective, labels: Labels, scores: score.Scores
) -> dict[str, float]:
    """Accuracy on a part of the data, and the objective where it is another, by their names.

    >>> of_part("val", "macro_f1", np.array([0, 1]), np.array([[0.9], [0.2]]))
    {'val_accuracy': 0.0, 'val_macro_f1': 0.0}
    """
    names: tuple[Objective, ...] = ("accuracy", objective)
    return {f"{part}_{name}": measured(name, labels, scores) for name in dict.fromkeys(names)}


def guessed(objective: Objective, labels: Labels) -> float:
    """The score of the best guess that looks at no image, 0..1.

    For accuracy it names the largest class always. For the others naming any class, or each as
    often as it occurs, is as good: `1 / K` for a mean over `K` classes, and half for `auc`.

    >>> [guessed(name, np.array([0, 0, 0, 1])) for name in NAMES]
    [0.75, 0.5, 0.5, 0.5]
    """
    counts = np.bincount(labels)
    if objective == "accuracy":
        return float(counts.max() / len(labels))
    return 0.5 if objective == "auc" else 1 / int(np.count_nonzero(counts))


def chance(objective: Objective, labels: Labels) -> float:
    """What a network has to exceed: 1.2 times a guess's score, at most half of the way to 1.

    >>> [round(chance(name, np.array([0, 0, 0, 1])), 3) for name in NAMES]
    [0.875, 0.6, 0.6, 0.6]
    """
    share = guessed(objective, labels)
    return min(1.2 * share, (1 + share) / 2)


def absent(labels: Labels, class_names: Sequence[str]) -> list[str]:
    """The classes that no label has, and that a mean over classes leaves out.

    >>> absent(np.array([0, 2]), ["cat", "dog", "eel"])
    ['dog']
    """
    counts = np.bincount(labels, minlength=len(class_names))
    return [name for name, count in zip(class_names, counts, strict=True) if not count]


@dataclass(frozen=True)
class Goal:
    """The score on val that a training has to reach, and how much chance is in such scores."""

    floor: float  # 0..1
    whole: float  # score of the network before it was changed
    images: int  # that the scores are measured on

    def is_hopeless(self, score: float, left: float) -> bool:
        """Whether the rest of a training cannot lift a score to the floor.

        It would have to make good a larger share of what is lost than its share of the epochs, and
        more than two standard errors of a score: `floor - score` is above `left (whole - score)`
        and above `2 sqrt(score (1 - score) / images)`.

        Args:
            score: On val, so far.
            left: Share of the epochs that is left, 0..1.

        >>> goal = Goal(floor=0.89, whole=0.9, images=1000)
        >>> [goal.is_hopeless(score, left=0.5) for score in (0.88, 0.86)]
        [False, True]
        >>> goal.is_hopeless(0.86, left=0.8)
        False
        """
        noise = CERTAIN * math.sqrt(max(0.0, score * (1 - score)) / self.images)
        missing, lost = self.floor - score, self.whole - score
        return missing > max(left * lost, noise)
