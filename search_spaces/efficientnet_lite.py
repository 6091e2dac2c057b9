"""EfficientNet-Lite-like networks: inverted residuals, scaled in width and depth together.

Searched:  overall width; per group the depth, kernel and expansion; early stride; style.
Fixed:     group widths and strides; stem and head keep their size; no squeeze-excite, ReLU6.
Source:    Tan & Le 2019, https://arxiv.org/abs/1905.11946, table 1, in the form of
           https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.
"""

import math
from typing import Any

import keras

from search_spaces.base import (
    ArchBase,
    Choices,
    Network,
    Shape,
    Style,
    conv,
    layers,
    network,
    pixels,
    sample_style,
    scores,
)
from search_spaces.blocks import residual, round_channels


class Group(ArchBase):
    """A run of inverted residuals at one resolution."""

    width: int  # channels, before the overall width
    depth: int  # blocks, before the overall depth
    stride: int  # of the first block
    kernel: int = 3  # side of the depthwise kernel, pixels
    expand: int = 6  # hidden channels / input channels


class Arch(ArchBase):
    """One network."""

    groups: tuple[Group, ...]
    width: float = 1.0  # multiplies the channels of every group
    depth: float = 1.0  # multiplies the blocks of every group but the first and the last
    stem: int = 32  # channels
    stem_stride: int = 2  # early reduction of the resolution
    head: int = 1280  # channels of the last convolution
    shrink: int = 1  # side of the pixel squares that are averaged before the stem
    style: Style = Style(activation="relu6")


def sample(hp: Choices) -> Arch:
    """Choose one network; the first value of every choice is the cheapest."""
    return Arch(
        width=hp.Choice("width", [0.5, 0.75, 1.0, 1.2, 1.4]),
        stem=16,
        stem_stride=hp.Choice("stem_stride", [2, 1]),
        head=128,
        groups=tuple(
            Group(
                width=width,
                stride=stride,
                depth=hp.Choice(f"depth_{i}", [1, 2, 3]),
                kernel=hp.Choice(f"kernel_{i}", [3, 5]),
                expand=hp.Choice(f"expand_{i}", [1, 2, 4] if i == 1 else [2, 4, 6]),
            )
            for i, (width, stride) in enumerate(((16, 1), (24, 2), (40, 2), (80, 2)), 1)
        ),
        style=sample_style(hp, activations=("relu6", "relu"), stochastic_depths=(0.0, 0.2)),
    )


def build(arch: Arch, input_shape: Shape, num_classes: int) -> keras.Model:
    """Construct the untrained network: images in 0..255 `[B, H, W, C]` -> scores `[B, K]`."""
    inputs, x = pixels(input_shape)
    style, blocks = arch.style, depths(arch)
    if arch.shrink > 1:
        x = layers.AveragePooling2D(arch.shrink, padding="same", name="shrink")(x)
    x = conv(x, arch.stem, 3, arch.stem_stride, name="stem", style=style)
    done = 0
    for i, (group, depth) in enumerate(zip(arch.groups, blocks, strict=True), 1):
        filters = round_channels(group.width * arch.width)
        for j in range(depth):
            stride, name = (1 if j else group.stride), f"group{i}_block{j + 1}"
            x = _block(x, filters, stride, group, style, name, done / sum(blocks))
            done += 1
    x = conv(x, arch.head, 1, name="head", style=style)
    return network(inputs, scores(x, num_classes, style), name="efficientnet_lite")


def depths(arch: Arch) -> list[int]:
    """Blocks per group: scaled and rounded up, except in the first and last group."""
    last = len(arch.groups) - 1
    return [
        group.depth if i in (0, last) else math.ceil(group.depth * arch.depth)
        for i, group in enumerate(arch.groups)
    ]


def _block(
    x: Any, filters: int, stride: int, group: Group, style: Style, name: str, depth: float
) -> Any:
    """Inverted residual: expand 1x1, depthwise, project 1x1 without activation."""
    channels = x.shape[-1]
    hidden, y = channels * group.expand, x
    if group.expand > 1:
        y = conv(y, hidden, 1, name=f"{name}_expand", style=style)
    y = conv(y, hidden, group.kernel, stride, name=f"{name}_depthwise", style=style, depthwise=True)
    y = conv(y, filters, 1, name=f"{name}_project", style=style, activate=False)
    return residual(x, y, style, name, depth) if stride == 1 and channels == filters else y


def _lite(width: float, depth: float, side: int, dropout: float) -> Network:
    style = Style(activation="relu6", dropout=dropout, stochastic_depth=0.2)
    return Network(Arch(groups=_GROUPS, width=width, depth=depth, style=style), (side, side, 3))


_GROUPS = tuple(
    Group(width=c, depth=n, stride=s, kernel=k, expand=t)
    for c, n, s, k, t in (
        (16, 1, 1, 3, 1),
        (24, 2, 2, 3, 6),
        (40, 2, 2, 5, 6),
        (80, 3, 2, 3, 6),
        (112, 3, 1, 5, 6),
        (192, 4, 2, 5, 6),
        (320, 1, 1, 3, 6),
    )
)
NETWORKS = {
    "efficientnet_lite0": _lite(1.0, 1.0, 224, 0.2),
    "efficientnet_lite1": _lite(1.0, 1.1, 240, 0.2),
    "efficientnet_lite2": _lite(1.1, 1.2, 260, 0.3),
    "efficientnet_lite3": _lite(1.2, 1.4, 280, 0.3),
    "efficientnet_lite4": _lite(1.4, 1.8, 300, 0.3),
}
