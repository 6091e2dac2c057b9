"""Zeros and shared values that earlier stages left in kernels, and constraints that keep them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt

from pipeline.graph.kinds import table

MOST_CLUSTERS = 256  # a kernel with more distinct values does not count as clustered
KERNELS = ("kernel", "pointwise_kernel", "depthwise_kernel")  # attributes of a layer
Array = npt.NDArray[Any]
Kept = Literal["clusters", "channel_clusters", "zeros"]
Constraint = Callable[[Any], Any]


def kernels(model: keras.Model) -> Iterator[tuple[Any, Any]]:
    """Yield `(layer, variable)` of every kernel `[..., c_in, c_out]`, once each."""
    seen = set()
    for layer in model._flatten_layers(include_self=False):
        for name in KERNELS:
            kernel = getattr(layer, name, None)
            if isinstance(kernel, keras.Variable) and len(kernel.shape) > 1:
                if id(kernel) not in seen:
                    yield layer, kernel
                seen.add(id(kernel))


def channel_axis(layer: Any) -> int:
    """Axis of the output channels in the kernel of a layer of keras or tf_keras."""
    axes = table.of(layer).kernel
    return axes(layer, "kernel").outputs[-1] if axes else -1


def of(kernel: Array, axis: int = -1) -> Kept | None:
    """What earlier stages left in a kernel.

    Weights that were trained apart never repeat; those of one channel may share values that no
    other channel has.

    Args:
        kernel: Weights, as float.
        axis: Of the output channels.

    >>> of(np.float32([[1, 2], [1, 2], [3, 1]])), of(np.float32([[1, 2], [1, 2], [3, 4]]))
    ('clusters', 'channel_clusters')
    >>> of(np.float32([[1, 0], [2, 3]])), of(np.float32([[1, 4], [2, 3]]))
    ('zeros', None)
    """
    channels = np.moveaxis(kernel, axis, 0).reshape(kernel.shape[axis], -1)
    weights = np.count_nonzero(channels, axis=1)
    values = np.array([np.count_nonzero(np.unique(channel)) for channel in channels])
    shared = np.count_nonzero(np.unique(kernel))
    if shared < values.sum() and shared <= MOST_CLUSTERS:
        return "clusters"
    if values.max() < weights.max() and values.max() <= MOST_CLUSTERS:
        return "channel_clusters"
    return "zeros" if np.any(kernel == 0) else None


def clustered(model: keras.Model) -> bool:
    """Whether the channels of any kernel of a model share a few values."""
    return any(
        of(np.asarray(kernel), channel_axis(layer)) == "clusters"
        for layer, kernel in kernels(model)
    )


def constraint(kernel: Array, kept: Kept, axis: int = -1) -> Constraint:
    """The function that is applied to a kernel after every update, in keras and in tf_keras.

    Args:
        kernel: Weights as they are before training.
        kept: What `of` says of them.
        axis: Of the output channels.
    """
    if kept == "zeros":
        stays = keras.ops.convert_to_tensor(kernel != 0)
        return lambda updated: keras.ops.where(stays, updated, 0.0)  # a product would make -0.0
    return _sharing(kernel, _clusters(kernel, axis if kept == "channel_clusters" else None))


@dataclass(frozen=True)
class Held:
    """The constraint of a variable whose structure is kept, on top of one that it came with."""

    keep: Constraint
    earlier: Constraint | None

    def __call__(self, updated: Any) -> Any:
        """Apply both."""
        return self.keep(self.earlier(updated) if self.earlier else updated)


@contextmanager
def kept(model: keras.Model) -> Iterator[None]:
    """Let every kernel of `model` that has structure keep it in any training while this lasts."""
    before = []
    try:
        for layer, variable in kernels(model):
            axis, weights = channel_axis(layer), np.asarray(variable)
            if found := of(weights, axis):
                before.append((variable, variable.constraint))
                keep = constraint(weights, found, axis)
                variable.constraint = Held(keep, variable.constraint)
        yield
    finally:
        for variable, earlier in before:
            variable.constraint = earlier


def _clusters(kernel: Array, axis: int | None) -> Array:
    """The number of the cluster of every weight: equal ones share it, of one channel if asked."""
    cluster = np.unique(kernel, return_inverse=True)[1].reshape(kernel.shape)
    if axis is not None:
        channels, sides = kernel.shape[axis], [1] * kernel.ndim
        sides[axis] = channels
        channel = np.arange(channels).reshape(sides)
        cluster = np.unique(cluster * channels + channel, return_inverse=True)[1]
    return cluster.reshape(-1).astype(np.int32)


def _sharing(kernel: Array, clusters: Array) -> Constraint:
    """Give every weight the mean of its cluster, `P w`: the closest that shares values like that.

    If gradients are `P g` as well, any optimizer trains shared centroids (Han et al. 2016, section
    3.3, with means in place of sums); else only plain gradient descent does exactly that. The mean
    is taken of differences to one member: float32 sums of many equal weights would
    make them drift, although nothing was trained.
    """
    _, members, sizes = np.unique(clusters, return_index=True, return_counts=True)
    cluster, member = (keras.ops.convert_to_tensor(a, "int32") for a in (clusters, members))
    count, shape = len(sizes), kernel.shape
    share = keras.ops.convert_to_tensor(1 / sizes, kernel.dtype.name)
    alive = keras.ops.convert_to_tensor(kernel.reshape(-1)[members] != 0)

    def mean(updated: Any) -> Any:
        flat = keras.ops.reshape(updated, [-1])
        first = keras.ops.take(flat, member)
        moved = flat - keras.ops.take(first, cluster)
        means = first + share * keras.ops.segment_sum(moved, cluster, count)
        means = keras.ops.where(alive, means, 0.0)
        return keras.ops.reshape(keras.ops.take(means, cluster), shape)

    return mean


def counts(kernel: npt.NDArray[Any]) -> dict[str, Any]:
    """`weights`, `sparsity` and `distinct` of a kernel.

    >>> counts(np.array([[0, 2], [2, 5]]))
    {'weights': 4, 'sparsity': 0.25, 'distinct': 3}
    """
    return {
        "weights": int(kernel.size),
        "sparsity": float(np.mean(kernel == 0)),
        "distinct": len(np.unique(kernel)),
    }
