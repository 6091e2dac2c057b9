"""Whether training images may be mirrored: not where the classes depend on left and right.

A linear classifier of coarse pixels is fitted to images as they are, and asked for others and for
their mirror images. It knows mirrored photographs about as well as plain ones; mirrored digits,
letters and arrows it does not.

Source: a person's rule, as in Shorten & Khoshgoftaar 2019, https://doi.org/10.1186/s40537-019-0197-0
        ("safe" augmentation keeps the label); ridge regression to the classes, Hastie et al.,
        The Elements of Statistical Learning, section 4.2.
"""

import logging
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.data.datasets import Dataset
from pipeline.data.stream import chosen

log = logging.getLogger("flopsmith")
IMAGES = 6000  # that are looked at, of the train part; a third of them are asked for
TOGETHER = 500  # images that are in memory at once
SIDE = 12  # coarse pixels across and down
ENOUGH = 48  # pixels of the shorter side that are read
RIDGE = 0.1  # penalty, as a fraction of the images: features have variance 1
LOSS = 0.2  # of what the classifier knows beyond guessing, that mirroring may cost
ERRORS = 2.0  # standard errors that a difference has to exceed
OWN_LOSS = 0.5  # as LOSS, of one class among many


@dataclass(frozen=True)
class Judgement:
    """Whether to mirror, and why, as the end of a sentence."""

    flip: bool
    reason: str


def decided(dataset: Dataset, seed: int) -> bool:
    """Decide whether to mirror training images, and say so in the log."""
    found = judged(dataset, seed)
    done = "are mirrored" if found.flip else "are not mirrored"
    log.info("training images %s: %s", done, found.reason)
    return found.flip


def judged(dataset: Dataset, seed: int) -> Judgement:
    """Decide whether to mirror training images, from the train part alone.

    Args:
        dataset: Images of any number of channels.
        seed: Decides which images are looked at.
    """
    split = dataset.train
    at = chosen(split, IMAGES, seed)
    labels, parts = split.labels[at], np.array_split(split.index[at], -(-len(at) // TOGETHER))
    both = [_both_ways(np.asarray(split.images[rows])) for rows in parts]
    features, mirrored = (np.concatenate(one) for one in zip(*both, strict=True))
    asked = np.arange(len(labels)) % 3 == 0
    np.random.default_rng(seed).shuffle(asked)
    answers = _classifier(features[~asked], labels[~asked], dataset.num_classes)
    truth = labels[asked]
    plain, turned = (answers(one[asked]) == truth for one in (features, mirrored))
    chance = float(np.bincount(truth).max() / len(truth))
    knows, still = float(plain.mean()), float(turned.mean())
    told = f"a linear classifier is right on {knows:.0%} of the images and {still:.0%} mirrored"
    if knows - chance < ERRORS * math.sqrt(chance * (1 - chance) / len(truth)):
        photographs = dataset.image_shape[-1] > 1
        usual = "in colour, as photographs are" if photographs else "grey, as text is"
        return Judgement(photographs, f"{told}, which tells nothing; they are {usual}")
    if _lost(plain, turned, chance, LOSS):
        return Judgement(False, told)
    for label in np.unique(truth):
        own = truth == label
        if _lost(plain[own], turned[own], 1 / dataset.num_classes, OWN_LOSS):
            name = dataset.class_names[label]
            return Judgement(
                False,
                f"a linear classifier knows class {name!r} mirrored on {turned[own].mean():.0%} of "
                f"its images, and {plain[own].mean():.0%} as they are",
            )
    return Judgement(True, told)


def _lost(plain: Any, turned: Any, chance: float, share: float) -> bool:
    """Whether mirroring costs more than a share of what is known, beyond the error of sampling."""
    differences = plain.astype(float) - turned
    error = differences.std() / math.sqrt(len(differences))
    most = share * max(float(plain.mean()) - chance, 0.0)
    return bool(differences.mean() > most + ERRORS * error)


def _both_ways(images: Any) -> tuple[Any, Any]:
    return _coarse(images), _coarse(images[:, :, ::-1])


def _coarse(images: Any) -> Any:
    """Means of patches, about 12 across and down, side by side: [N, H, W, C] -> [N, F]."""
    every = max(1, min(images.shape[1:3]) // ENOUGH)  # pixels of large images between two read
    images = images[:, ::every, ::every]
    rows, columns = (
        np.linspace(0, side, min(SIDE, side) + 1).astype(int)[:-1] for side in images.shape[1:3]
    )
    sums = np.add.reduceat(np.add.reduceat(images, rows, 1, np.float32), columns, 2)
    sizes = [
        np.diff([*starts, side])
        for starts, side in zip((rows, columns), images.shape[1:3], strict=True)
    ]
    means = sums / sizes[0][:, None, None] / sizes[1][:, None]
    return means.reshape(len(images), -1)


def _classifier(features: Any, labels: Any, classes: int) -> Any:
    """Fit ridge regression to the classes; returns a function of features that names classes."""
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-3

    def scaled(values: Any) -> Any:
        return np.hstack([(values - mean) / deviation, np.ones((len(values), 1))])

    known = scaled(features)
    penalty = RIDGE * len(known) * np.eye(known.shape[1])
    kernel = np.linalg.solve(known.T @ known + penalty, known.T @ np.eye(classes)[labels])
    return lambda values: (scaled(values) @ kernel).argmax(axis=1)
