"""Cut the weights of a layer to the channels that are left, or repeat those that are doubled.

Source:  doubled channels whose readers' weights are halved leave the function as it is, Chen et
         al. 2016, https://arxiv.org/abs/1511.05641, section 2.3.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.graph.channel_ties import Labels
from pipeline.graph.channels import Channels
from pipeline.graph.kinds import table
from pipeline.graph.kinds.kind import FORWARD, Kernel


@dataclass(frozen=True)
class Cut:
    """A layer, the classes along both of its ends, and how many channels of each there will be."""

    layer: Any
    reads: Labels
    writes: Labels
    copies: np.ndarray

    def weights(self) -> list[np.ndarray]:
        """The weights of the layer for the channels that there will be.

        A channel that is there `n` times is read with weights that are `n` times smaller.
        """
        values = self.layer.get_weights()
        if not self._is_changed():
            return list(values)
        names = [weight.name.split(":")[0] for weight in self.layer.weights]
        return [self._weight(*pair) for pair in zip(names, values, strict=True)]

    def noisy(self, noise: float, random: np.random.Generator) -> list[np.ndarray]:
        """`weights`, where the kernels of second copies are multiplied by noise around 1.

        Args:
            noise: Its standard deviation.
            random: Is drawn from only if the layer makes channels and is changed.
        """
        weights = self.weights()
        if not table.of(self.layer).width or not self._is_changed():
            return weights
        names = [weight.name.split(":")[0] for weight in self.layer.weights]
        place = names.index("pointwise_kernel") if "pointwise_kernel" in names else 0
        kernel, outer = weights[place], self._axes(names[place]).outputs
        origins = np.repeat(np.arange(len(self.writes)), self.copies[self.writes])
        again = np.diff(origins, prepend=-1) == 0
        along = again if outer == (-1,) else again[:, None]
        spread = 1 + noise * random.standard_normal(kernel.shape) * along
        weights[place] = (kernel * spread).astype(kernel.dtype)
        return weights

    def _is_changed(self) -> bool:
        return bool(np.any(self.copies[self.reads] != 1) or np.any(self.copies[self.writes] != 1))

    def _axes(self, name: str) -> Kernel:
        find = table.of(self.layer).kernel
        return find(self.layer, name) if find else FORWARD

    def _weight(self, name: str, value: np.ndarray) -> np.ndarray:
        """One weight, for the channels that there will be."""
        if not name.endswith("kernel"):
            return np.repeat(value, self.copies[self.writes], -1)
        axes = self._axes(name)
        if not axes.inputs:  # depthwise: the channels that are read are those that are written
            return np.repeat(value, self.copies[self.reads], axes.outputs[0])
        reads = self.reads
        if name == "pointwise_kernel":
            reads = np.repeat(reads, self.layer.depth_multiplier)
        (inner,), (outer,) = axes.inputs, axes.outputs
        reads = reads[: value.shape[inner]]  # of several groups, which are alike, the first
        shape = [1] * value.ndim
        shape[inner] = len(reads)
        shared = value / np.maximum(self.copies[reads], 1).reshape(shape)
        read = np.repeat(shared, self.copies[reads], inner)
        return np.repeat(read, self.copies[self.writes], outer).astype(value.dtype)


def of(layer: Any, channels: Channels, copies: np.ndarray) -> Cut:
    """The cut of one layer.

    Args:
        layer: Of the model that `channels` are of.
        channels: Of the whole model.
        copies: int [channels.count], how many channels of every class there will be.
    """
    return Cut(layer, channels.reads[id(layer)], channels.writes[id(layer)], copies)
