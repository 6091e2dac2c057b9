"""Convolutions: plain, transposed, depthwise and separable, over one to three axes."""

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from pipeline.graph import walk
from pipeline.graph.channel_ties import Call, Labels, Ties
from pipeline.graph.kinds.kind import (
    DEPTHWISE,
    FORWARD,
    TRANSPOSED,
    Kernel,
    Kind,
    Operators,
    Shape,
    known,
)


def macs(layer: Any, inputs: list[Shape], output: Shape) -> int:
    """`kh kw (c_in / groups) c_out` per output position."""
    return walk.size(layer.kernel) * positions(layer, output)


def transposed_macs(layer: Any, inputs: list[Shape], output: Shape) -> int:
    """`kh kw c_in c_out` per input position."""
    return walk.size(layer.kernel) * positions(layer, inputs[0])


def separable_macs(layer: Any, inputs: list[Shape], output: Shape) -> int:
    """Depthwise `kh kw c` plus pointwise `c c_out`, per output position."""
    kernels = walk.size(layer.depthwise_kernel) + walk.size(layer.pointwise_kernel)
    return kernels * positions(layer, output)


def positions(layer: Any, shape: Shape) -> int:
    """Places in space that a tensor `[B, ..., C]`, or `[B, C, ...]`, has."""
    first = getattr(layer, "data_format", None) == "channels_first"
    return math.prod(known(shape[2:] if first else shape[1:-1], layer.name))


def made(ties: Ties, call: Call) -> Labels | None:
    """New channels: every output channel reads all of the input, or a group of its channels."""
    writes = ties.new(call.out[-1] or 0, call.layer.name)
    groups = getattr(call.layer, "groups", 1)
    for labels in (call.reads[0], writes) if groups > 1 else ():
        first, *others = labels.reshape(groups, -1)  # groups stay as wide as each other
        for other in others:
            ties.tie(first, other)
    if getattr(call.layer, "depth_multiplier", 1) != 1:
        ties.rigid.update(call.reads[0].tolist())
    return writes


def depthwise_channels(ties: Ties, call: Call) -> Labels | None:
    """Channel `c m + i` of the output reads channel `c`, with `m` the depth multiplier."""
    if call.layer.depth_multiplier != 1:
        ties.rigid.update(call.reads[0].tolist())
    return np.repeat(call.reads[0], call.layer.depth_multiplier)


def full_share(layer: Any, reads: Fraction, writes: Fraction) -> Fraction:
    """In proportion to the channels that are read, and to those that are written."""
    return reads * writes


def depthwise_share(layer: Any, reads: Fraction, writes: Fraction) -> Fraction:
    """In proportion to the channels that are read, each of which is convolved by itself."""
    return reads


def separable_share(layer: Any, reads: Fraction, writes: Fraction) -> Fraction:
    """The depthwise part goes by the channels that are read, the pointwise part by both."""
    deep, flat = walk.size(layer.depthwise_kernel), walk.size(layer.pointwise_kernel)
    return (deep * reads + flat * reads * writes) / (deep + flat)


def separable_kernel(layer: Any, name: str) -> Kernel:
    """The axes of its depthwise and of its pointwise kernel."""
    return DEPTHWISE if name == "depthwise_kernel" else FORWARD


ALONE = Operators()
INT8 = Operators(takes_relu=True, takes_norm=True, takes_padding=True)
CONVOLUTION = Kind(
    macs=macs,
    channels=made,
    operators=ALONE,
    kernel=lambda layer, name: FORWARD,
    width="filters",
    share=full_share,
)
CONVOLUTION_TRANSPOSED = replace(
    CONVOLUTION, macs=transposed_macs, kernel=lambda layer, name: TRANSPOSED
)
DEPTHWISE_CONVOLUTION = Kind(
    macs=macs,
    channels=depthwise_channels,
    operators=ALONE,
    kernel=lambda layer, name: DEPTHWISE,
    share=depthwise_share,
)
SEPARABLE_CONVOLUTION = replace(
    CONVOLUTION, macs=separable_macs, kernel=separable_kernel, share=separable_share
)
KINDS: dict[str, Kind] = {
    "Conv1D": CONVOLUTION,
    "Conv2D": replace(CONVOLUTION, operators=INT8),
    "Conv3D": CONVOLUTION,
    "Conv1DTranspose": CONVOLUTION_TRANSPOSED,
    "Conv2DTranspose": CONVOLUTION_TRANSPOSED,
    "Conv3DTranspose": CONVOLUTION_TRANSPOSED,
    "DepthwiseConv1D": DEPTHWISE_CONVOLUTION,
    "DepthwiseConv2D": replace(DEPTHWISE_CONVOLUTION, operators=INT8),
    "SeparableConv1D": SEPARABLE_CONVOLUTION,
    "SeparableConv2D": SEPARABLE_CONVOLUTION,
}
