"""How much the images of each class count in the loss of training.

Source:  weights by the inverse of the frequency, King & Zeng 2001,
         https://doi.org/10.1093/oxfordjournals.pan.a004868; `class_weight="balanced"` of
         scikit-learn is the same.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from pipeline.data.datasets import Dataset
from pipeline.errors import RecipeError
from pipeline.train.settings import ClassWeights

Weights = npt.NDArray[np.float32]


def of(setting: ClassWeights, dataset: Dataset) -> Weights | None:
    """The weight of every class, `[K]`; None where all are the same.

    With `N` training images, `n_c` of them of class `c`, and `K` classes that have any, `auto` is
    `w_c = N / (K n_c)`: the images of every class weigh the same together, and the mean over all
    images is 1. A class without images has the weight 1. Classes that a mapping does not name have
    the weight 1.

    Raises:
        RecipeError: the mapping names a class that the data do not have.
    """
    if setting == "none":
        return None
    if setting == "auto":
        counts = np.bincount(dataset.train.labels, minlength=dataset.num_classes)
        each = len(dataset.train) / np.count_nonzero(counts)
        return np.where(counts > 0, each / np.maximum(counts, 1), 1.0).astype(np.float32)
    names: Sequence[str] = dataset.class_names
    if unknown := [name for name in setting if name not in names]:
        raise RecipeError(
            f"class_weights: the data have no such class. Received: {unknown[0]!r}. "
            f"Known: {', '.join(names)}"
        )
    return np.array([setting.get(name, 1.0) for name in names], np.float32)


def told(setting: ClassWeights, dataset: Dataset) -> str | None:
    """Say the smallest and the largest weight in words; None where all are the same."""
    weights = of(setting, dataset)
    if weights is None:
        return None
    ends = (
        f"{weights[at]:.3g} ({dataset.class_names[at]})"
        for at in (int(weights.argmin()), int(weights.argmax()))
    )
    return "an image of a class counts in the loss from {} to {} times".format(*ends)


def add(batches: Any, weights: Weights) -> Any:
    """Add to batches of images and labels the weight of every image, `[B]`.

    A label that is mixed of several classes, `[B, K]`, has their weights by its shares.
    """
    table = tf.constant(weights)

    def weighed(images: Any, labels: Any) -> Any:
        if labels.shape.rank == 2:
            return images, labels, tf.linalg.matvec(tf.cast(labels, tf.float32), table)
        return images, labels, tf.gather(table, labels)

    return batches.map(weighed, num_parallel_calls=tf.data.AUTOTUNE)
