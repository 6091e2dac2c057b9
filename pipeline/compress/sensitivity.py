"""How much a model loses when one of its kernels is changed alone, without training.

Source:  Han et al. 2015, section 5, figure 6, https://arxiv.org/abs/1506.02626.
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import numpy.typing as npt

from pipeline.compress import patterns
from pipeline.compress.kernels import Kernel
from pipeline.compress.patterns import Pattern
from pipeline.data.datasets import Split
from pipeline.graph.scores import classes
from pipeline.system import progress
from pipeline.train import losses

IMAGES = 500  # that accuracy is measured on, at most
SPARSITIES = (0.4, 0.6, 0.8, 0.9, 0.97)
BATCH = 100


def scan(
    kernels: Sequence[Kernel],
    model: keras.Model,
    split: Split,
    seed: int,
    pattern: Pattern = patterns.SINGLE,
) -> tuple[dict[str, list[tuple[float, float]]], int]:
    """Prune each kernel alone, and put its weights back.

    Args:
        kernels: Of the model.
        model: Gives scores of images.
        split: What it is scored on; 500 images at most.
        seed: Chooses which.
        pattern: Where zeros may be.

    Returns:
        By name of the kernel, pairs of sparsity and accuracy, both 0..1, from 0 zeros up; and the
        number of images.
    """
    score, count = scorer(model, split, seed)
    whole, curves = score(), {}
    with progress.bar("sensitivity", len(kernels)) as advance:
        for kernel in kernels:
            curves[kernel.name] = [(0.0, whole), *_alone(kernel, score, pattern)]
            left = curves[kernel.name][-1][1]
            advance(f"{kernel.name}: val accuracy {left:.4f} with {SPARSITIES[-1]:.0%} zeros")
    return curves, count


def most_sensitive(
    kernels: Sequence[Kernel],
    loss: Callable[[], float],
    change: Callable[[Kernel], None],
    count: int,
) -> list[str]:
    """Names of the kernels whose change alone costs most; at least one is not among them.

    Args:
        kernels: Of one model; their weights are put back.
        loss: Measures the model, see `loss_of`.
        change: What is done to a kernel, in place.
        count: Of names, the worst first.
    """
    losses = {}
    with progress.bar("sensitivity", len(kernels)) as advance:
        for kernel in kernels:
            before = np.array(kernel.variable)
            try:
                change(kernel)
                losses[kernel.name] = loss()
            finally:
                kernel.variable.assign(before)
            advance(f"{kernel.name}: loss {losses[kernel.name]:.4f}")
    worst = sorted(losses, key=lambda name: np.nan_to_num(losses[name], nan=np.inf), reverse=True)
    return worst[: min(count, len(kernels) - 1)]


def _alone(
    kernel: Kernel, score: Callable[[], float], pattern: Pattern
) -> list[tuple[float, float]]:
    before = np.array(kernel.variable)
    points = []
    try:
        for sparsity in SPARSITIES:  # each from the last: the smallest stay the smallest
            kernel.keep(patterns.mask(kernel.importance, sparsity, pattern))
            points.append((sparsity, score()))
    finally:
        kernel.variable.assign(before)
    return points


def scorer(model: keras.Model, split: Split, seed: int) -> tuple[Callable[[], float], int]:
    """Make what measures the model's accuracy on some images, and say how many they are."""
    places, count = _places(split, seed)

    def score() -> float:
        hits = 0
        for some in places:
            scores = model.predict_on_batch(_pixels(split, some))
            hits += int(np.sum(classes(scores) == split.labels[some]))
        return hits / count

    return score, count


def loss_of(model: keras.Model, split: Split, seed: int) -> Callable[[], float]:
    """Make what measures the model's cross-entropy on the images that `scorer` looks at.

    It tells kernels apart that cost the same few images.
    """
    places, count = _places(split, seed)
    known = max(2, int(model.output_shape[-1]))  # one output tells two classes apart
    view, loss, *_ = losses.view(model, losses.Lessons(), known, 0.0)

    def score() -> float:
        total = 0.0
        for some in places:
            scores = view.predict_on_batch(_pixels(split, some))
            total += float(np.sum(loss(split.labels[some], scores)))
        return total / count

    return score


def _places(split: Split, seed: int) -> tuple[list[npt.NDArray[np.intp]], int]:
    """Batches of images of a split, and how many images they are."""
    count = min(len(split), IMAGES)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(split))[:count])
    return np.array_split(chosen, -(-count // BATCH)), count


def _pixels(split: Split, places: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    return np.asarray(split.images[split.index[places]], np.float32)
