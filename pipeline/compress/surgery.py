"""Make a model with fewer channels, or with some of them twice; the rest keep their weights.

Source:  doubled channels whose readers' weights are halved leave the function as it is, Chen et
         al. 2016, https://arxiv.org/abs/1511.05641, section 2.3.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import keras
import numpy as np

from pipeline.graph import complexity, macs, rebuild, walk
from pipeline.graph.channel_rules import Labels
from pipeline.graph.channels import Channels

SIZES = {"Dense": "units"}  # the setting for the number of output channels; others: filters
# Per kind of layer, the axes of its kernel that channels are read and written along.
FORWARD = (-2, -1)
AXES = {"Conv1DTranspose": (-1, -2), "Conv2DTranspose": (-1, -2), "Conv3DTranspose": (-1, -2)}
MAKERS = ("Conv1D", "Conv2D", "Conv3D", "Dense", "SeparableConv1D", "SeparableConv2D", *AXES)


def resized(
    channels: Channels, copies: np.ndarray, noise: float = 0.0, seed: int = 0
) -> keras.Model:
    """Make the model anew with `copies[class]` channels of every class: 0, 1 or more.

    A channel that is there `n` times is read with weights that are `n` times smaller.

    Args:
        channels: Of the model.
        copies: int [channels.count]; 1 for classes that have to stay.
        noise: Standard deviation of what the kernels of second copies are multiplied by, around
            1; without it, all copies of a channel would learn the same.
        seed: Of the noise.
    """

    def make(layer: Any, config: dict[str, Any]) -> Any:
        return type(layer).from_config({**config, **_settings(layer, config, channels, copies)})

    model, done = rebuild.replayed(channels.model, make)
    random = np.random.default_rng(seed)
    for old, new in done.made.values():
        weights = old.get_weights()
        reads, writes = channels.reads[id(old)], channels.writes[id(old)]
        if np.any(copies[reads] != 1) or np.any(copies[writes] != 1):
            names = [w.name.split(":")[0] for w in old.weights]
            ends = _Ends(old, reads, writes, copies)
            weights = [ends.cut(*pair) for pair in zip(names, weights, strict=True)]
            if noise and type(old).__name__ in MAKERS:
                again = ends.second_copies()
                spread = 1 + noise * random.standard_normal(weights[0].shape) * again
                weights[0] = (weights[0] * spread).astype(weights[0].dtype)
        if weights:
            new.set_weights(weights)
    return model


class Count:
    """Counts the MACs of `resized(channels, copies)` without making it.

    The MACs of a layer are in proportion to the channels that it reads and to those that it
    writes; in proportion to what, `complexity.profile` of the model as it is says.
    """

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self._rows: list[tuple[int, Any]] = []
        rows = complexity.profile(channels.model).layers
        for (layer, _, _), row in zip(walk.calls(channels.model), rows, strict=True):
            if row.macs:
                self._rows.append((row.macs, layer))

    def __call__(self, copies: np.ndarray) -> int:
        """MACs with `copies[class]` channels of every class."""
        total = Fraction(0)
        for count, layer in self._rows:
            reads, writes = self._channels.reads[id(layer)], self._channels.writes[id(layer)]
            total += count * _share(layer, _left(reads, copies), _left(writes, copies))
        return int(total)


def _left(labels: Labels, copies: np.ndarray) -> Fraction:
    """Channels that will be there, as a share of those that are."""
    return Fraction(int(copies[labels].sum()), max(1, len(labels)))


def _share(layer: Any, reads: Fraction, writes: Fraction) -> Fraction:
    """MACs that a layer will have, as a share of those that it has."""
    kind = type(layer).__name__
    if kind.startswith("DepthwiseConv"):
        return reads
    if kind.startswith("SeparableConv"):
        deep, flat = macs.size(layer.depthwise_kernel), macs.size(layer.pointwise_kernel)
        return (deep * reads + flat * reads * writes) / (deep + flat)
    return reads * writes if kind in MAKERS else Fraction(1)


def _settings(
    layer: Any, config: dict[str, Any], channels: Channels, copies: np.ndarray
) -> dict[str, Any]:
    """The settings of a layer that depend on the number of its channels."""
    kind, writes = type(layer).__name__, channels.writes[id(layer)]
    count = int(copies[writes].sum())
    if kind in MAKERS:
        return {SIZES.get(kind, "filters"): count}
    if kind == "GroupNormalization" and layer.groups > 0:
        return {"groups": count * layer.groups // len(writes)}
    if kind == "Reshape":
        return {"target_shape": (*config["target_shape"][:-1], count)}
    if kind == "ZeroPadding2D" and layer.data_format == "channels_first":
        before, after = layer.padding[1]
        ends = writes[:before], writes[len(writes) - after :]
        return {"padding": (layer.padding[0], tuple(int(copies[end].sum()) for end in ends))}
    return {}


@dataclass(frozen=True)
class _Ends:
    """A layer, the classes along both of its ends, and how many channels of each there will be."""

    layer: Any
    reads: Labels
    writes: Labels
    copies: np.ndarray

    def cut(self, name: str, value: np.ndarray) -> np.ndarray:
        """One weight, for the channels that will be there."""
        kind = type(self.layer).__name__
        if not name.endswith("kernel"):
            return np.repeat(value, self.copies[self.writes], -1)
        if kind.startswith("DepthwiseConv") or name == "depthwise_kernel":
            return np.repeat(value, self.copies[self.reads], -2)
        reads = self.reads
        if name == "pointwise_kernel":
            reads = np.repeat(reads, self.layer.depth_multiplier)
        inner, outer = AXES.get(kind, FORWARD)
        reads = reads[: value.shape[inner]]  # of several groups, which are alike, the first
        shape = [1] * value.ndim
        shape[inner] = len(reads)
        shared = value / np.maximum(self.copies[reads], 1).reshape(shape)
        read = np.repeat(shared, self.copies[reads], inner)
        return np.repeat(read, self.copies[self.writes], outer).astype(value.dtype)

    def second_copies(self) -> np.ndarray:
        """Which channels of the kernel are copies of the one before, 0 or 1 along its axis."""
        origins = np.repeat(np.arange(len(self.writes)), self.copies[self.writes])
        again = np.diff(origins, prepend=-1) == 0
        outer = AXES.get(type(self.layer).__name__, FORWARD)[1]
        return np.asarray(again if outer == -1 else again[:, None])
