"""Find the range of pixels that a network was trained on: it classifies best with that."""

import logging
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from pipeline.data import datasets
from pipeline.data.datasets import Dataset, Split
from pipeline.data.stream import batch
from pipeline.graph import scores as score
from pipeline.pretrained.adaptation import Pixels

SAMPLE = 1000  # val images at most
CHUNK = 100  # images at a time through Keras
CLOSE = 0.03  # accuracies that are this close to the best may differ by chance
SMOOTHING = 0.01  # label smoothing s, see `surprise`
LEAST = 1e-30  # smaller probabilities count as this, so that their logarithm is finite
log = logging.getLogger("flopsmith")


def recognized(adapted: Callable[[Pixels], Any], dataset: Dataset, name: str) -> Any:
    """Adapt a network to the range of pixels with which it classifies most val images correctly.

    A network without biases or normalization may classify them alike on any scale: of ranges with
    accuracies that are close, the one with the least `surprise` is taken. A network that does no
    better than guessing on any is given 0..255.

    Args:
        adapted: Makes a model of 0..255 of one that takes the given pixels.
        dataset: A sample of its val part decides.
        name: Of the network, for the log.
    """
    images, labels = batch(dataset.val, SAMPLE, seed=0)
    sample = Split(images, labels, np.arange(len(images)))
    made = {pixels: adapted(pixels) for pixels in get_args(Pixels)}
    scores = {pixels: _scores(model, images) for pixels, model in made.items()}
    found = {kind: float(np.mean(score.classes(s) == labels)) for kind, s in scores.items()}
    close = [kind for kind in found if found[kind] >= max(found.values()) - CLOSE]
    best = min(close, key=lambda kind: surprise(score.shares(scores[kind]), labels))
    if max(found.values()) <= datasets.chance(sample):
        best = get_args(Pixels)[0]
        log.warning(
            "load: %s does no better than guessing; it is given pixels 0..255. If its classes are "
            "others than %s, in this order, set load.head=new; if it takes other pixels, put a "
            "Rescaling layer in front",
            *(name, ", ".join(dataset.class_names[:5])),
        )
    told = (name, 100 * found[best], len(images), best)
    log.info("load: %s classifies %.1f%% of %d val images right with pixels %s", *told)
    return made[best]


def surprise(scores: npt.NDArray[Any], labels: npt.NDArray[Any]) -> float:
    """Mean cross-entropy of class scores with label smoothing.

    Pixels that are too small leave every class about as probable; pixels that are too large make
    scores of exactly 0 and 1, which smoothed labels hold against them even where all are right.

    `-sum_k ((1 - s) [k = label] + s / K) log p_k`, with `s = 0.01` and `p` at least 1e-30.

    Args:
        scores: Probabilities `[N, K]`.
        labels: `[N]`.

    >>> rows = np.array([[[0.5, 0.5]], [[0.99, 0.01]], [[1.0, 0.0]]])
    >>> [round(surprise(row, np.array([0])), 2) for row in rows]
    [0.69, 0.03, 0.35]
    """
    logs = np.log(np.clip(scores.astype(np.float64), LEAST, None))
    right = np.take_along_axis(logs, labels[:, None].astype(np.int64), axis=-1)
    return float(-np.mean((1 - SMOOTHING) * right) - np.mean(SMOOTHING * logs))


def _scores(model: Any, images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Scores of images 0..255, `[N, K]`."""
    places = range(0, len(images), CHUNK)
    parts = [model.predict_on_batch(images[i : i + CHUNK].astype(np.float32)) for i in places]
    return np.concatenate(parts)
