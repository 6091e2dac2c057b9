"""MobileNetV2-like networks: a stem, groups of inverted residuals, a head.

Searched:  overall width; per group the depth, kernel and expansion; early stride; norm; init.
Fixed:     group widths and strides, ReLU6, linear bottlenecks.
Source:    Sandler et al. 2018, https://arxiv.org/abs/1801.04381, table 2.
"""

from typing import Any

import keras

from search_spaces.base import (
    ArchBase,
    Choices,
    Init,
    Norm,
    conv,
    layers,
    pixels,
    round_channels,
    scores,
)

WIDTHS = (16, 24, 40)
STRIDES = (1, 2, 2)
STEM, HEAD = 16, 96


class Group(ArchBase):
    """A run of inverted residuals at one resolution."""

    depth: int  # blocks
    kernel: int  # side of the depthwise kernel, pixels
    expand: int  # hidden channels / input channels


class Arch(ArchBase):
    """One network."""

    width: float  # multiplies every number of channels
    stem_stride: int  # early reduction of the resolution
    groups: tuple[Group, ...]
    norm: Norm = "batch"
    init: Init = "he_normal"


def sample(hp: Choices) -> Arch:
    """Choose one network; the first value of every choice is the cheapest."""
    return Arch(
        width=hp.Choice("width", [0.5, 0.75, 1.0, 1.5]),
        stem_stride=hp.Choice("stem_stride", [2, 1]),
        groups=tuple(
            Group(
                depth=hp.Choice(f"depth_{i}", [1, 2, 3]),
                kernel=hp.Choice(f"kernel_{i}", [3, 5]),
                expand=hp.Choice(f"expand_{i}", [2, 3, 6]),
            )
            for i in range(1, len(WIDTHS) + 1)
        ),
        init=hp.Choice("init", ["he_normal", "glorot_uniform"]),
    )


def build(arch: Arch, input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """Construct the untrained network: images in 0..255 `[B, H, W, C]` -> scores `[B, K]`."""
    inputs, x = pixels(input_shape)
    shared: dict[str, Any] = {"norm": arch.norm, "init": arch.init}
    stem = round_channels(STEM * arch.width)
    x = conv(x, stem, 3, arch.stem_stride, name="stem", activation="relu6", **shared)
    for i, (group, width, stride) in enumerate(zip(arch.groups, WIDTHS, STRIDES, strict=True), 1):
        filters = round_channels(width * arch.width)
        for j in range(group.depth):
            x = _block(x, filters, stride if j == 0 else 1, group, f"group{i}_block{j + 1}", shared)
    head = round_channels(HEAD * max(1.0, arch.width))
    x = conv(x, head, 1, 1, name="head", activation="relu6", **shared)
    return keras.Model(inputs, scores(x, num_classes, arch.init), name="mobilenet")


def _block(
    x: Any, filters: int, stride: int, group: Group, name: str, shared: dict[str, Any]
) -> Any:
    """Inverted residual: expand 1x1, depthwise, project 1x1 without activation."""
    channels = x.shape[-1]
    hidden = channels * group.expand
    y = conv(x, hidden, 1, 1, name=f"{name}_expand", activation="relu6", **shared)
    y = conv(
        y,
        hidden,
        group.kernel,
        stride,
        name=f"{name}_depthwise",
        activation="relu6",
        depthwise=True,
        **shared,
    )
    y = conv(y, filters, 1, 1, name=f"{name}_project", **shared)
    return layers.Add(name=f"{name}_add")([x, y]) if stride == 1 and channels == filters else y
