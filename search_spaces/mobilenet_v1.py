"""MobileNetV1-like networks: a stem, groups of depthwise-separable convolutions, a head.

Searched:  overall width; per group the depth and kernel; separable or full convolutions; early
           stride; style.
Fixed:     group widths and strides; no shortcuts, so stochastic depth has nothing to drop.
Source:    Howard et al. 2017, https://arxiv.org/abs/1704.04861, tables 1 and 4; the two small
           networks are MLPerf Tiny's, https://github.com/mlcommons/tiny.
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
    layers,
    network,
    pixels,
    sample_style,
    scores,
)
from search_spaces.blocks import round_channels


class Group(ArchBase):
    """A run of separable convolutions at one resolution."""

    width: int  # channels, before the overall width
    depth: int  # blocks
    stride: int  # of the first block
    kernel: int = 3  # side of the depthwise kernel, pixels


class Arch(ArchBase):
    """One network."""

    groups: tuple[Group, ...]
    width: float = 1.0  # multiplies every number of channels
    separable: bool = True  # False: one full convolution in place of depthwise and pointwise
    stem: int = 32  # channels, before the overall width
    stem_kernel: int | tuple[int, int] = 3  # side, or (height, width), pixels
    stem_stride: int = 2  # early reduction of the resolution
    stem_dropout: float = 0.0  # after the stem, 0..1
    bias: bool = False  # convolutions keep a bias beside the normalization
    style: Style = Style(activation="relu6")


def sample(hp: Choices) -> Arch:
    """Choose one network; the first value of every choice is the cheapest."""
    return Arch(
        width=hp.Choice("width", [0.25, 0.5, 0.75, 1.0, 1.5]),
        separable=hp.Choice("separable", [True, False]),
        stem=16,
        stem_stride=hp.Choice("stem_stride", [2, 1]),
        groups=tuple(
            Group(
                width=width,
                stride=stride,
                depth=hp.Choice(f"depth_{i}", [1, 2, 3]),
                kernel=hp.Choice(f"kernel_{i}", [3, 5]),
            )
            for i, (width, stride) in enumerate(((32, 1), (64, 2), (128, 2)), 1)
        ),
        style=sample_style(hp, activations=("relu6", "relu")),
    )


def build(arch: Arch, input_shape: Shape, num_classes: int) -> keras.Model:
    """Construct the untrained network: images in 0..255 `[B, H, W, C]` -> scores `[B, K]`."""
    inputs, x = pixels(input_shape)
    shared: dict[str, Any] = {"style": arch.style, "bias": arch.bias or None}
    stem = round_channels(arch.stem * arch.width)
    x = conv(x, stem, arch.stem_kernel, arch.stem_stride, name="stem", **shared)
    if arch.stem_dropout:
        x = layers.Dropout(arch.stem_dropout, name="stem_dropout")(x)
    for i, group in enumerate(arch.groups, 1):
        filters = round_channels(group.width * arch.width)
        for j in range(group.depth):
            stride, name = (1 if j else group.stride), f"group{i}_block{j + 1}"
            if arch.separable:
                depthwise = {"name": f"{name}_depthwise", "depthwise": True, **shared}
                x = conv(x, filters, group.kernel, stride, **depthwise)
                x = conv(x, filters, 1, name=f"{name}_pointwise", **shared)
            else:
                x = conv(x, filters, group.kernel, stride, name=f"{name}_conv", **shared)
    return network(inputs, scores(x, num_classes, arch.style), name="mobilenet_v1")


def _imagenet(side: int = 224, **numbers: Any) -> Network:
    return Network(Arch(groups=_GROUPS, **numbers), (side, side, 3))


_GROUPS = tuple(
    Group(width=c, depth=n, stride=s)
    for c, n, s in ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2))
)
NETWORKS = {
    "mobilenet": _imagenet(),
    **{f"mobilenet_0{percent:02}": _imagenet(width=percent / 100) for percent in (75, 50, 25)},
    **{f"mobilenet_{side}px": _imagenet(side) for side in (192, 160, 128)},
    "conv_mobilenet": _imagenet(separable=False),
    # MLPerf Tiny visual wake words: a person in the picture, or not
    "vww_mobilenet_025": Network(
        Arch(groups=_GROUPS, width=0.25, bias=True, style=Style()), (96, 96, 3), num_classes=2
    ),
    # MLPerf Tiny keyword spotting: 49 steps in time of 10 cepstral coefficients
    "ds_cnn": Network(
        Arch(
            groups=(Group(width=64, depth=4, stride=1),),
            stem=64,
            stem_kernel=(10, 4),
            stem_dropout=0.2,
            bias=True,
            style=Style(dropout=0.4),
        ),
        (49, 10, 1),
        num_classes=12,
    ),
}
