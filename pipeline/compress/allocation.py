"""How many zeros each kernel of a model gets, so that all together have as many as asked for."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.compress.kernels import Kernel
from pipeline.errors import ModelError

LEAST = 0.25  # every kernel keeps this share of the mean fraction of weights that stay
Curves = Mapping[str, Sequence[tuple[float, float]]]  # (sparsity, accuracy) by name of a kernel


def uniform(kernels: Sequence[Kernel], sparsity: float) -> dict[str, float]:
    """The same fraction of zeros for every kernel, by name."""
    return dict.fromkeys((kernel.name for kernel in kernels), sparsity)


def by_deviation(
    kernels: Sequence[Kernel], sparsity: float = 0.5, quality: float | None = None
) -> dict[str, float]:
    """Fractions of zeros, by name, if weights below `quality` standard deviations become zero.

    The deviation is that of the weights of the kernel that are not zero yet. Han et al. 2015,
    section 4, https://arxiv.org/abs/1506.02626.

    Args:
        kernels: What is pruned.
        sparsity: Fraction of zeros in all of them, if no quality is given: that of the smallest
            weights, each divided by the standard deviation of its kernel.
        quality: The threshold of every kernel over its standard deviation.

    Raises:
        ModelError: nothing would be left of a kernel.
    """
    sizes = {}
    for kernel in kernels:
        weights = np.asarray(kernel.variable).reshape(-1)
        sizes[kernel.name] = np.abs(weights) / (np.std(weights[weights != 0]) or 1.0)
    if quality is None:
        every = np.concatenate(list(sizes.values()))
        quality = float(np.quantile(every, sparsity))
    found = {name: float(np.mean(own < quality)) for name, own in sizes.items()}
    if gone := [name for name, sparsity in found.items() if sparsity == 1]:
        raise ModelError(
            f"all weights of {gone[0]!r} are within {quality:.3g} standard deviations. "
            f"Received: quality={quality:.3g}. Choose a lower one, or fewer zeros"
        )
    return found


def by_sensitivity(
    kernels: Sequence[Kernel], sparsity: float, curves: Curves, images: int
) -> dict[str, float]:
    """Fractions of zeros, by name, that cost every kernel alone the same accuracy.

    That drop is bisected until the mean sparsity, weighted by weights, is the one asked for. No
    kernel keeps less than a quarter of the mean share of weights that stay.

    Args:
        kernels: What is pruned.
        sparsity: Fraction of zeros in all of them, 0..1.
        curves: What `pipeline.compress.sensitivity.scan` found.
        images: Number of images that the accuracies were measured on. A drop that rises by up to
            one image along with the zeros is added to every curve, so that flat ones differ.
    """
    most = 1 - LEAST * (1 - sparsity)
    weights = np.array([kernel.size for kernel in kernels])
    curves = {name: [*points, (1.0, 0.0)] for name, points in curves.items()}  # as far as it goes
    drops = {name: _drops(points, images) for name, points in curves.items()}

    def found(drop: float) -> npt.NDArray[np.float64]:
        within = [np.interp(drop, drops[k.name], [s for s, _ in curves[k.name]]) for k in kernels]
        return np.minimum(within, most)

    low, high = 0.0, 2.0  # every accuracy is within 0..1
    for _ in range(60):
        middle = (low + high) / 2
        enough = np.average(found(middle), weights=weights) >= sparsity
        low, high = (low, middle) if enough else (middle, high)
    return {k.name: float(s) for k, s in zip(kernels, found(high), strict=True)}


def _drops(points: Sequence[tuple[float, float]], images: int) -> npt.NDArray[np.float64]:
    """Largest drop in accuracy up to each sparsity, plus up to one image so that it rises."""
    sparsities, accuracies = np.array(points).T
    return np.asarray(np.maximum.accumulate(accuracies[0] - accuracies) + sparsities / images)
