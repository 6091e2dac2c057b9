"""Whether a model has learned anything: its accuracy beside that of naming one class always.

Naming the largest class always is right on a fraction `p` of `n` images. A model that is right on
`k` of them is taken as guessing if luck explains that, P(X >= k) > 0.01 with X ~ Binomial(n, p), or
if it is hardly better: k / n up to min(1.2 p, p + 0.05 (1 - p)). The level is strict since the
model is the best of many epochs and trials.
"""

import math

import numpy as np
from scipy.special import bdtrc

from pipeline.artifact import Artifact
from pipeline.data.datasets import Dataset, Split
from pipeline.details import Guessing, Objective
from pipeline.objective import guessed

LEVEL = 0.01
HARDLY = (1.2, 0.05)  # times the share of the largest class; of the way from that share to 1


def judged(
    artifact: Artifact, dataset: Dataset, objective: Objective = "accuracy"
) -> Guessing | None:
    """Judge a measured model by the val and test images together; None if it has learned.

    A model whose last layers are new, with random weights, is not judged. Where the objective is
    not accuracy, a model may be right less often than the largest class is named rightly, and tell
    the classes apart all the same: it has learned if that score is above a guess's, on val by more
    than hardly, and on test with the whole of its interval.
    """
    numbers = artifact.metrics
    if _tells_apart(numbers.get(f"val_{objective}"), objective, dataset.val) and numbers[
        f"test_{objective}_low"
    ] > guessed(objective, dataset.test.labels):
        return None
    accuracies = [artifact.metrics.get(f"{part}_accuracy") for part in ("val", "test")]
    if artifact.details.new_layers or None in accuracies:
        return None
    parts = (dataset.val, dataset.test)
    hits = sum(round(a * len(part)) for a, part in zip(accuracies, parts, strict=True) if a)
    return _judged(hits, np.concatenate([part.labels for part in parts]), "val and test", dataset)


def judged_on_val(
    accuracy: float,
    dataset: Dataset,
    objective: Objective = "accuracy",
    score: float | None = None,
) -> Guessing | None:
    """Judge an accuracy, and a score, on the val images alone, as a trial of a search has them."""
    split: Split = dataset.val
    if _tells_apart(score, objective, split):
        return None
    return _judged(round(accuracy * len(split)), split.labels, "val", dataset)


def _tells_apart(found: float | None, objective: Objective, split: Split) -> bool:
    """Whether a score other than accuracy is more than hardly above that of a guess."""
    if objective == "accuracy" or found is None:
        return False
    share = guessed(objective, split.labels)
    return found > min(HARDLY[0] * share, share + HARDLY[1] * (1 - share))


def _judged(hits: int, labels: np.ndarray, of: str, dataset: Dataset) -> Guessing | None:
    images, largest = len(labels), int(np.bincount(labels).max())
    needed = least_hits(largest / images, images)
    if hits >= needed:
        return None
    return {
        "hits": hits,
        "images": images,
        "largest": largest,
        "needed": needed,
        "of": of,
        "data": dataset.name,
    }


def least_hits(share: float, images: int) -> int:
    """The fewest of `images` that a model has to classify correctly to be more than a guess.

    All of them, where even that could be luck.

    Args:
        share: Fraction of the images that are of the largest class, `p`.
        images: Their number, `n`.

    >>> least_hits(0.2, 105), least_hits(0.2, 45), least_hits(0.1, 10_000), least_hits(0.5, 4)
    (32, 17, 1201, 4)
    """
    luck = bdtrc(np.arange(images), images, share)  # P(X > 0), P(X > 1) ...
    beyond = int(np.argmax(luck <= LEVEL)) + 1 if luck[-1] <= LEVEL else images
    factor, way = HARDLY
    hardly = min(factor * share, share + way * (1 - share))
    return min(images, max(beyond, math.floor(round(hardly * images, 6)) + 1))
