"""MobileNetV2-like networks: a stem, groups of inverted residuals, a head.

Searched:  overall width; per group the depth, kernel and expansion; early stride; style.
Fixed:     group widths and strides, linear bottlenecks.
Source:    Sandler et al. 2018, https://arxiv.org/abs/1801.04381, table 2.
"""

from typing import Any

import keras

from search_spaces.base import (
    ArchBase,
    Choices,
    Network,
    Shape,
    Style,
    conv,
    network,
    pixels,
    sample_style,
    scores,
)
from search_spaces.blocks import residual, round_channels


class Group(ArchBase):
    """A run of inverted residuals at one resolution."""

    width: int  # channels, before the overall width
    depth: int  # blocks
    stride: int  # of the first block
    kernel: int = 3  # side of the depthwise kernel, pixels
    expand: int = 6  # hidden channels / input channels


class Arch(ArchBase):
    """One network."""

    groups: tuple[Group, ...]
    width: float = 1.0  # multiplies every number of channels
    stem: int = 32  # channels, before the overall width
    stem_stride: int = 2  # early reduction of the resolution
    head: int = 1280  # channels of the last convolution; grows with a width above 1
    style: Style = Style(activation="relu6")


def sample(hp: Choices) -> Arch:
    """Choose one network; the first value of every choice is the cheapest."""
    return Arch(
        width=hp.Choice("width", [0.5, 0.75, 1.0, 1.5]),
        stem=16,
        stem_stride=hp.Choice("stem_stride", [2, 1]),
        head=96,
        groups=tuple(
            Group(
                width=width,
                stride=stride,
                depth=hp.Choice(f"depth_{i}", [1, 2, 3]),
                kernel=hp.Choice(f"kernel_{i}", [3, 5]),
                expand=hp.Choice(f"expand_{i}", [2, 3, 6]),
            )
            for i, (width, stride) in enumerate(((16, 1), (24, 2), (40, 2)), 1)
        ),
        style=sample_style(hp, activations=("relu6", "relu")),
    )


def build(arch: Arch, input_shape: Shape, num_classes: int) -> keras.Model:
    """Construct the untrained network: images in 0..255 `[B, H, W, C]` -> scores `[B, K]`."""
    inputs, x = pixels(input_shape)
    style, total = arch.style, sum(group.depth for group in arch.groups)
    stem = round_channels(arch.stem * arch.width)
    x = conv(x, stem, 3, arch.stem_stride, name="stem", style=style)
    done = 0
    for i, group in enumerate(arch.groups, 1):
        filters = round_channels(group.width * arch.width)
        for j in range(group.depth):
            done += 1
            stride, name = (1 if j else group.stride), f"group{i}_block{j + 1}"
            x = _block(x, filters, stride, group, style, name, done / total)
    head = round_channels(arch.head * max(1.0, arch.width))
    x = conv(x, head, 1, name="head", style=style)
    return network(inputs, scores(x, num_classes, style), name="mobilenet")


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


_V2 = tuple(
    Group(expand=t, width=c, depth=n, stride=s)
    for t, c, n, s in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
)
NETWORKS = {
    "mobilenet_v2": Network(Arch(groups=_V2)),
    **{
        f"mobilenet_v2_{percent:03}": Network(Arch(groups=_V2, width=percent / 100))
        for percent in (35, 50, 75, 130, 140)
    },
}
