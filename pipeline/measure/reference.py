"""What the models of a run are compared with, and whether one has fallen too far below it.

A model that was given counts as it came, at its own input; a model that the run has trained, as it
was when compression began. Val accuracy decides; a test accuracy counts where chance alone does not
explain how much lower it is.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.artifact import Artifact
from pipeline.data.datasets import Dataset
from pipeline.details import Objective
from pipeline.measure.intervals import QUANTILE
from pipeline.objective import TITLES

ROUNDING = 1e-9  # accuracies closer than that are equal
CERTAIN = 2.0  # standard deviations between two test accuracies that differ not by chance
log = logging.getLogger("flopsmith")


def given(finished: Sequence[Artifact]) -> Artifact | None:
    """The stage that loaded a trained model with its head, if one did."""
    return next((a for a in finished if a.details.pretrained and a.details.new_layers == []), None)


def accuracy(made: Artifact, part: str = "val", objective: Objective = "accuracy") -> float:
    """The objective of a model on val or test; of one that was given, at its own input."""
    own, key = made.details.given, f"{part}_{objective}"
    numbers: Mapping[str, Any] = made.metrics if own is None else {**own.get("scores", {}), **own}
    return float(numbers[key])


def least(
    start: Artifact, finished: Sequence[Artifact], objective: Objective = "accuracy"
) -> float:
    """The score that compression is measured by: that of its start, or what was given."""
    own = given(finished)
    return max(accuracy(one, "val", objective) for one in (start, own) if one is not None)


def floor(
    reference: float, drop: float, images: int, share: float, objective: Objective = "accuracy"
) -> float:
    """The score on val that a stage must keep: for accuracy, in whole images.

    All stages together may lose `tolerance(drop, images)` images. The stages up to this one may
    lose the fraction `share` of `drop * images`, rounded up, so that some are left for later
    stages. Other scores have no smallest step: the stages may lose the fraction `share` of `drop`,
    or what one image is of accuracy if that is more.

    Args:
        reference: Score on val of the model that compression started from, 0..1.
        drop: Most that compression may cost over all stages, a fraction.
        images: Number of val images.
        share: Fraction of the compressing stages that have run once this one has, in (0, 1].
        objective: Which score.

    >>> floor(0.90, 0.01, images=1000, share=0.5)
    0.895
    >>> floor(0.90, 0.01, images=180, share=1 / 3) == 0.90 - 1 / 180
    True
    >>> floor(0.80, 0.01, images=45, share=1 / 3) == 0.80 - 1 / 45  # drop * images is below 1
    True
    >>> floor(0.90, 0.02, images=1000, share=0.5, objective="macro_f1")
    0.89
    """
    if objective != "accuracy":
        return reference - max(drop * share, (drop > 0) / images)
    total = tolerance(drop, images)
    lost = min(total, math.ceil(drop * images * share - ROUNDING))
    return reference - lost / images


def tolerance(drop: float, images: int) -> int:
    """Number of val images that all stages together may lose.

    It is `drop * images`, rounded down, but one image at least: accuracy has no smaller steps, and
    without that image every attempt on few images would be judged by chance. A drop of 0 allows
    none.

    >>> tolerance(0.01, images=1000), tolerance(0.01, images=45), tolerance(0.0, images=45)
    (10, 1, 0)
    """
    return max(math.floor(drop * images + ROUNDING), int(drop > 0))


def steps(drop: float, labels: np.ndarray, objective: Objective) -> str | None:
    """Say that one val image is more than compression may cost; None where it is not."""
    if objective == "accuracy":
        return coarse(drop, len(labels))
    return coarse_class(drop, labels, objective)


def coarse_class(drop: float, labels: np.ndarray, objective: Objective) -> str | None:
    """Say that one val image of a rare class is more than all stages may lose of a mean."""
    counts = np.bincount(labels)
    rare = int(counts[counts > 0].min())
    worth = 1 / (rare * np.count_nonzero(counts))  # of balanced accuracy; about that of the others
    if objective == "auc" or not drop or worth <= drop:  # AUC has small steps
        return None
    return (
        f"one of the {rare} val images of the rarest class is about {worth:.4f} of "
        f"{TITLES[objective]}, more than max_accuracy_drop={drop:g} allows: an attempt that loses "
        "it may be refused. Give more images of rare classes, or raise max_accuracy_drop"
    )


def coarse(drop: float, images: int) -> str | None:
    """Say that one val image is more than all stages may lose; None where it is not."""
    if tolerance(drop, images) <= drop * images + ROUNDING:
        return None
    return (
        f"one of {images} val images is {1 / images:.4f} of val accuracy, more than "
        f"max_accuracy_drop={drop:g} allows; compression may lose one image all the same. For "
        f"finer steps, give more images (max_accuracy_drop={drop:g} needs "
        f"{math.ceil(1 / drop - ROUNDING)} for validation), or allow none with max_accuracy_drop=0"
    )


def noted(
    done: Artifact,
    finished: Sequence[Artifact],
    start: Artifact | None,
    allowed: float,
    dataset: Dataset,
    objective: Objective = "accuracy",
) -> Artifact:
    """Note and log in what a model has fallen too far below those that it was made from.

    Args:
        done: With its accuracies.
        finished: The stages before it.
        start: What compression started from; None: it has not started.
        allowed: The fraction of the objective on val that may be lost.
        dataset: The images that it was measured on.
        objective: Which score.

    Returns:
        The artifact with its `shortfall`, saved if that has changed.
    """
    references = [one for one in (given(finished), start) if one is not None]
    images = len(dataset.val), len(dataset.test)
    told = [
        said for one in references if (said := shortfall(one, done, allowed, *images, objective))
    ]
    if told:
        log.warning("%s: %s", done.stage, told[0])
    if (told[0] if told else None) == done.details.shortfall:
        return done
    done = done.telling(shortfall=told[0] if told else None)
    done.save()
    return done


def shortfall(
    reference: Artifact,
    done: Artifact,
    allowed: float,
    val_images: int,
    test_images: int,
    objective: Objective = "accuracy",
) -> str | None:
    """Say how far the objective is below that of a reference, if it is further than allowed."""
    name = reference.stage
    if own := reference.details.given:
        name += f" (the model given, at its own {'x'.join(map(str, own['image_shape']))})"
    before, after = accuracy(reference, "val", objective), done.metrics[f"val_{objective}"]
    if after < floor(before, allowed, val_images, 1.0, objective) - ROUNDING:
        return (
            f"val {TITLES[objective]} is {before - after:.4f} below that of {name}, more than "
            f"max_accuracy_drop={allowed:g}"
        )
    key = f"test_{objective}"
    if key not in done.metrics or key not in reference.metrics:
        return None
    before, after = accuracy(reference, "test", objective), done.metrics[key]
    spread = np.sqrt((before * (1 - before) + after * (1 - after)) / test_images)
    if objective != "accuracy":
        spread = math.hypot(_deviation(reference, key), _deviation(done, key))
    if before - after > allowed + CERTAIN * spread:
        return (
            f"test {TITLES[objective]} is {before - after:.4f} below that of {name}, more than "
            f"max_accuracy_drop={allowed:g} and chance explain"
        )
    return None


def _deviation(made: Artifact, key: str) -> float:
    """Standard deviation of a score, by the width of its interval of 95%."""
    width = made.metrics[f"{key}_high"] - made.metrics[f"{key}_low"]
    return float(width / (2 * QUANTILE))
