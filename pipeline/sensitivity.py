"""How much accuracy a model loses when one of its kernels is pruned alone, without training.

Source:  Han et al. 2015, section 5, figure 6, https://arxiv.org/abs/1506.02626.
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from pipeline import masks, progress
from pipeline.data import Split
from pipeline.kernels import Kernel
from pipeline.masks import Pattern

IMAGES = 500  # that accuracy is measured on, at most
SPARSITIES = (0.4, 0.6, 0.8, 0.9, 0.97)
BATCH = 100


def scan(
    kernels: Sequence[Kernel],
    model: keras.Model,
    split: Split,
    seed: int,
    pattern: Pattern = masks.SINGLE,
) -> tuple[dict[str, list[tuple[float, float]]], int]:
    """Prune each kernel alone, and put its weights back.

    Args:
        kernels: Of the model.
        model: Gives scores of images.
        split: What it is scored on; 500 images at most.
        seed: Chooses which.
        pattern: What the zeros have to go by.

    Returns:
        By name of the kernel, pairs of sparsity and accuracy, both 0..1, from 0 zeros up; and the
        number of images.
    """
    score, count = scorer(model, split, seed)
    whole, curves = score(), {}
    with progress.bar("sensitivity", len(kernels)) as advance:
        for kernel in kernels:
            curves[kernel.name] = [(0.0, whole), *_alone(kernel, score, pattern)]
            advance(f"{kernel.name} at {SPARSITIES[-1]:.0%}: {curves[kernel.name][-1][1]:.4f}")
    return curves, count


def _alone(
    kernel: Kernel, score: Callable[[], float], pattern: Pattern
) -> list[tuple[float, float]]:
    before = np.array(kernel.variable)
    points = []
    try:
        for sparsity in SPARSITIES:  # each from the last: the smallest stay the smallest
            kernel.keep(masks.mask(kernel.importance, sparsity, pattern))
            points.append((sparsity, score()))
    finally:
        kernel.variable.assign(before)
    return points


def scorer(model: keras.Model, split: Split, seed: int) -> tuple[Callable[[], float], int]:
    """Make what measures the model's accuracy on some images, and say how many they are."""
    count = min(len(split), IMAGES)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(split))[:count])
    places = np.array_split(chosen, -(-count // BATCH))

    def score() -> float:
        hits = 0
        for some in places:
            scores = model.predict_on_batch(np.asarray(split.images[split.index[some]], np.float32))
            hits += int(np.sum(np.argmax(scores, axis=-1) == split.labels[some]))
        return hits / count

    return score, count
