"""Weight clustering: the weights of a kernel share a handful of values.

Source:  Han et al. 2016, section 3, https://arxiv.org/abs/1510.00149; k-means++, Arthur &
         Vassilvitskii 2007, https://dl.acm.org/doi/10.5555/1283383.1283494.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt

from pipeline.compress import kernels
from pipeline.compress.kernels import Kernel
from pipeline.graph import structure

Centroids = Literal["density", "kmeans++", "linear", "random"]
Scope = Literal["layer", "channel"]
Floats = npt.NDArray[np.float64]
DENSE = ("Dense", "EinsumDense")
ROUNDS = 100  # most iterations of Lloyd's algorithm


@dataclass(frozen=True)
class Plan:
    """How many distinct values kernels may have, and how those are found."""

    conv: int  # most distinct values in the kernel of a convolution, zero included
    dense: int  # the same for a dense layer
    centroids: Centroids = "linear"
    per: Scope = "layer"
    seed: int = 0


def cluster(
    model: keras.Model,
    plan: Plan,
    exempt: Collection[str] = (),
    images: npt.NDArray[Any] | None = None,
) -> list[Kernel]:
    """Cluster the kernels of `model` in place; train them under `structure.kept` afterwards.

    Zeros stay zeros and are one of the clusters of their kernel; no other weight becomes zero.
    Depthwise kernels stay whole: a channel has a handful of weights there, and int8 has a range
    for each channel, which would tear clusters apart. A first layer is clustered like any other.
    A model that was clustered before can be clustered again.

    Args:
        model: Any built Keras 3 model.
        plan: Numbers of clusters, and how they are found; the same plan finds the same ones.
        exempt: Names of layers that stay whole.
        images: `[N, H, W, C]`. The squared error of a weight counts as much as the mean square of
            its input on them, so that clusters change outputs least. None: all count alike.

    Returns:
        All kernels, those that stay whole with the reason.
    """
    found = find(model, exempt, images)
    for number, kernel in enumerate(found):
        if not kernel.reason:
            share(kernel, plan, number)
    return found


def find(
    model: keras.Model, exempt: Collection[str] = (), images: npt.NDArray[Any] | None = None
) -> list[Kernel]:
    """The kernels that `cluster` returns, as they are before it."""
    every = kernels.find(model, first_layer=True, depthwise=True)
    found = kernels.spared([replace(k, reason=_reason(k)) for k in every], exempt)
    return found if images is None else kernels.weighed(found, model, images)


def share(kernel: Kernel, plan: Plan, number: int = 0) -> None:
    """Cluster one kernel in place; its number, and the seed of the plan, decide what is random."""
    count = plan.dense if type(kernel.layer).__name__ in DENSE else plan.conv
    values = np.array(kernel.variable)
    parts, counted = [values], [kernel.squares]
    if plan.per == "channel":
        axis = structure.channel_axis(kernel.layer)
        parts, counted = ([*np.moveaxis(a[0], axis, 0)] for a in (parts, counted))
    rng = np.random.default_rng([plan.seed, number])
    for weights, mass in zip(parts, counted, strict=True):
        weights[...] = shared(weights, count, plan.centroids, rng, mass)
    kernel.variable.assign(values)


def shared(
    weights: npt.NDArray[Any],
    count: int,
    centroids: Centroids,
    rng: np.random.Generator,
    mass: npt.NDArray[Any] | None = None,
) -> npt.NDArray[Any]:
    """Replace every weight by the mean of its cluster, of `count` clusters at most.

    Args:
        weights: Of any shape. If there are zeros among them, they are one of the clusters.
        count: At least 2; `2**b` of them take `b` bits a weight.
        centroids: How they start: at random weights (Forgy 1965), at quantiles ("density"), evenly
            from the least to the largest weight ("linear"), or far from each other ("kmeans++").
        rng: Draws those that are random.
        mass: How much the error of each weight counts, above 0; None: all count alike.

    >>> shared(np.array([0.0, 1, 2, 9, 11]), 3, "linear", np.random.default_rng(0)).tolist()
    [0.0, 1.5, 1.5, 10.0, 10.0]
    """
    values, index = np.unique(weights, return_inverse=True)
    counts = np.bincount(index.ravel(), None if mass is None else mass.ravel())
    made, live = values.astype(np.float64), values != 0
    count -= not live.all()
    if count < np.count_nonzero(live):
        some, often = made[live], counts[live].astype(np.float64)
        made[live] = _merged(some, often, _STARTS[centroids](some, often, count, rng))
    return made.astype(weights.dtype)[index].reshape(weights.shape)


def _merged(values: Floats, mass: Floats, centroids: Floats) -> Floats:
    """Lloyd's algorithm (1982, https://doi.org/10.1109/TIT.1982.1056489) on a line.

    There a cluster is a run of sorted values, so that its mean is a difference of two sums.

    Args:
        values: Distinct, sorted, not 0.
        mass: How often each occurs.
        centroids: To start from, fewer than values.

    Returns:
        For each value the mean of its cluster, which is not 0 either.
    """
    centroids = np.sort(centroids)
    ends = _ends(values, centroids)
    masses, moments = (np.append(0, np.cumsum(a)) for a in (mass, mass * values))
    for _ in range(ROUNDS):
        sizes = np.diff(masses[ends])
        full = sizes > 0
        centroids[full] = np.diff(moments[ends])[full] / sizes[full]
        if not full.all():  # an empty cluster takes over the value that is worst off
            error = mass * np.square(values - np.repeat(centroids, np.diff(ends)))
            for place in np.flatnonzero(~full):
                centroids[place] = values[np.argmax(error)]
                error = np.minimum(error, mass * np.square(values - centroids[place]))
            centroids.sort()
        before, ends = ends, _ends(values, centroids)
        if np.array_equal(before, ends):
            break
    cluster = np.repeat(np.arange(len(centroids)), np.diff(ends))
    sizes = np.bincount(cluster, mass, len(centroids))
    means = np.bincount(cluster, mass * values, len(centroids)) / np.where(sizes > 0, sizes, 1)
    means[means == 0] = values[np.argmin(np.abs(values))]
    return means[cluster]


def _ends(values: Floats, centroids: Floats) -> npt.NDArray[np.intp]:
    """Where the runs of values that are nearest to each centroid begin, and the last one ends."""
    between = np.searchsorted(values, (centroids[1:] + centroids[:-1]) / 2)
    return np.concatenate([[0], between, [len(values)]])


def _linear(values: Floats, mass: Floats, count: int, rng: np.random.Generator) -> Floats:
    return np.linspace(values[0], values[-1], count)


def _density(values: Floats, mass: Floats, count: int, rng: np.random.Generator) -> Floats:
    """The quantiles in the middle of `count` parts of equal mass."""
    shares = np.cumsum(mass) / np.sum(mass)
    return values[np.searchsorted(shares, (np.arange(count) + 0.5) / count)]


def _random(values: Floats, mass: Floats, count: int, rng: np.random.Generator) -> Floats:
    return rng.choice(values, count, replace=False, p=mass / mass.sum())


def _spread(values: Floats, mass: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Each drawn with a chance proportional to its squared distance from the nearest so far."""
    chosen = [rng.choice(values, p=mass / mass.sum())]
    nearest = mass * np.square(values - chosen[0])
    while len(chosen) < count:
        chosen.append(rng.choice(values, p=nearest / nearest.sum()))
        nearest = np.minimum(nearest, mass * np.square(values - chosen[-1]))
    return np.array(chosen)


_STARTS: dict[Centroids, Callable[[Floats, Floats, int, np.random.Generator], Floats]] = {
    "density": _density,
    "kmeans++": _spread,
    "linear": _linear,
    "random": _random,
}


def _reason(kernel: Kernel) -> str | None:
    """Why a kernel stays whole whatever is asked for, if it does."""
    if kernels.is_depthwise(kernel.layer, kernel.variable):
        return "few weights per channel, each with an int8 range of its own, which parts clusters"
    return None
