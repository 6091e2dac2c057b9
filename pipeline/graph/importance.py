"""How important each channel of a network is, as a measure of which ones it can do without.

Source:  kernel norms, Li et al. 2017, https://arxiv.org/abs/1608.08710, section 3.1; `|gamma|` of
         batch normalization, Liu et al. 2017, https://arxiv.org/abs/1708.06519, section 3.
"""

from typing import Any, Literal

import keras
import numpy as np

from pipeline.graph import walk
from pipeline.graph.channels import Channels
from pipeline.graph.kinds import table
from pipeline.graph.kinds.kind import Refusal

Score = Literal["l1", "l2", "gamma"]


def scores(channels: Channels, by: Score) -> np.ndarray:
    """Importance of every class, float [channels.count]; comparable within a group alone.

    - l1: the mean of `|w|` over the kernel of a channel, as a share of that of the layer, added
      up over all layers that write the class;
    - l2: the same of the root of the mean of `w^2`;
    - gamma: the sum of `|gamma|` of all batch normalizations of the class; of groups without one,
      l2.
    """
    total, scaled = np.zeros(channels.count), np.zeros(channels.count)
    for layer in walk.layers(channels.model):
        writes = channels.writes[id(layer)]
        norms = _norms(layer, by == "l1")
        if norms is not None:
            np.add.at(total, writes, norms / max(float(norms.mean()), 1e-30))
    for layer in scaled_norms(channels.model):
        np.add.at(scaled, channels.writes[id(layer)], np.abs(np.asarray(layer.gamma)))
    if by == "gamma":
        for group in channels.groups:
            if np.any(scaled[group.classes]):
                total[group.classes] = scaled[group.classes]
    return total


def scaled_norms(model: keras.Model) -> list[Any]:
    """The batch normalizations of a model that scale their channels by gamma."""
    norms = keras.layers.BatchNormalization
    return [layer for layer in walk.layers(model) if isinstance(layer, norms) and layer.scale]


def _norms(layer: Any, absolute: bool) -> np.ndarray | None:
    """Size of the kernel of every output channel of a layer; None for one without kernels."""
    kind = table.of(layer)
    if kind.kernel is None or kind.channels is None or isinstance(kind.channels, Refusal):
        return None
    name = "pointwise_kernel" if hasattr(layer, "pointwise_kernel") else "kernel"
    kernel = np.asarray(getattr(layer, name))
    axes = kind.kernel(layer, name).outputs
    last = np.moveaxis(kernel, axes, range(-len(axes), 0))
    weights = last.reshape(-1, int(np.prod(last.shape[-len(axes) :])))
    if absolute:
        return np.asarray(np.abs(weights).mean(axis=0))
    return np.asarray(np.sqrt(np.square(weights).mean(axis=0)))
