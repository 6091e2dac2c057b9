"""MobileNetV3-like networks: inverted residuals with squeeze-excite and hard-swish, a late head.

Searched:  overall width; per group the depth, kernel and expansion; squeeze-excite and
           hard-swish, both off for the Edge TPU; early stride; style.
Fixed:     group widths and strides; squeeze to a quarter; the head works on pooled features.
Source:    Howard et al. 2019, https://arxiv.org/abs/1905.02244, tables 1 and 2; "minimalistic"
           networks as the authors released them: 3x3 kernels, ReLU, no squeeze-excite.
"""

from typing import Any

import keras

from search_spaces.base import (
    ArchBase,
    Choices,
    Network,
    Shape,
    Style,
    activation,
    conv,
    initializer,
    layers,
    network,
    pixels,
    sample_style,
    scores,
)
from search_spaces.blocks import residual, round_channels, squeeze_excite


class Group(ArchBase):
    """A run of inverted residuals at one resolution."""

    width: int  # channels, before the overall width
    depth: int  # blocks
    stride: int  # of the first block
    kernel: int = 3  # side of the depthwise kernel, pixels
    expand: float = 6  # hidden channels / input channels
    squeeze_excite: bool = False
    relu: bool = False  # ReLU in place of the style's activation, which helps only in deep layers


class Arch(ArchBase):
    """One network."""

    groups: tuple[Group, ...]
    width: float = 1.0  # multiplies every number of channels
    stem: int = 16  # channels, before the overall width
    stem_stride: int = 2  # early reduction of the resolution
    last: int = 6  # channels of the last convolution / those of the last group
    head: int = 1280  # channels of the dense layer after pooling; grows with a width above 1
    style: Style = Style(activation="hard_swish", dropout=0.2)


def sample(hp: Choices) -> Arch:
    """Choose one network; the first value of every choice is the cheapest."""
    excite = hp.Choice("squeeze_excite", [False, True])
    return Arch(
        width=hp.Choice("width", [0.5, 0.75, 1.0, 1.5]),
        stem_stride=hp.Choice("stem_stride", [2, 1]),
        head=96,
        groups=tuple(
            Group(
                width=width,
                stride=stride,
                squeeze_excite=excite,
                depth=hp.Choice(f"depth_{i}", [1, 2, 3]),
                kernel=hp.Choice(f"kernel_{i}", [3, 5]),
                expand=hp.Choice(f"expand_{i}", [2.0, 3.0, 6.0]),
            )
            for i, (width, stride) in enumerate(((16, 1), (24, 2), (40, 2)), 1)
        ),
        style=sample_style(
            hp, activations=("relu", "relu6", "hard_swish"), stochastic_depths=(0.0, 0.2)
        ),
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
    x = conv(x, round_channels(arch.last * x.shape[-1]), 1, name="last", style=style)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    head = round_channels(arch.head * max(1.0, arch.width))
    x = layers.Dense(head, kernel_initializer=initializer(style.init), name="head")(x)
    x = activation(x, style.activation, f"head_{style.activation}")
    return network(inputs, scores(x, num_classes, style, pool=False), name="mobilenet_v3")


def _block(
    x: Any, filters: int, stride: int, group: Group, style: Style, name: str, depth: float
) -> Any:
    """Inverted residual: expand 1x1, depthwise, excite, project 1x1 without activation."""
    if group.relu:
        style = style.model_copy(update={"activation": "relu"})
    channels = x.shape[-1]
    hidden, y = round_channels(channels * group.expand), x
    if group.expand > 1:
        y = conv(y, hidden, 1, name=f"{name}_expand", style=style)
    y = conv(y, hidden, group.kernel, stride, name=f"{name}_depthwise", style=style, depthwise=True)
    if group.squeeze_excite:
        y = squeeze_excite(y, round_channels(hidden / 4), f"{name}_se", "hard_sigmoid", style.init)
    y = conv(y, filters, 1, name=f"{name}_project", style=style, activate=False)
    return residual(x, y, style, name, depth) if stride == 1 and channels == filters else y


def _minimalistic(arch: Arch) -> Arch:
    """The same network of 3x3 kernels and ReLU, without squeeze-excite."""
    plain = {"kernel": 3, "squeeze_excite": False}
    groups = tuple(group.model_copy(update=plain) for group in arch.groups)
    style = arch.style.model_copy(update={"activation": "relu"})
    return arch.model_copy(update={"groups": groups, "style": style})


# width, depth, stride, kernel, expand, squeeze-excite, ReLU; each network is one run of rows
_LARGE = (
    (16, 1, 1, 3, 1, False, True),
    (24, 1, 2, 3, 4, False, True),
    (24, 1, 1, 3, 3, False, True),
    (40, 3, 2, 5, 3, True, True),
    (80, 1, 2, 3, 6, False, False),
    (80, 1, 1, 3, 2.5, False, False),
    (80, 2, 1, 3, 2.3, False, False),
    (112, 2, 1, 3, 6, True, False),
    (160, 3, 2, 5, 6, True, False),
)
_SMALL = (
    (16, 1, 2, 3, 1, True, True),
    (24, 1, 2, 3, 72 / 16, False, True),
    (24, 1, 1, 3, 88 / 24, False, True),
    (40, 1, 2, 5, 4, True, False),
    (40, 2, 1, 5, 6, True, False),
    (48, 2, 1, 5, 3, True, False),
    (96, 3, 2, 5, 6, True, False),
)


def _arch(rows: tuple[tuple[Any, ...], ...], head: int) -> Arch:
    groups = (dict(zip(Group.model_fields, row, strict=True)) for row in rows)
    return Arch(groups=tuple(Group(**group) for group in groups), head=head)


_PUBLISHED = {
    "mobilenet_v3_large": _arch(_LARGE, head=1280),
    "mobilenet_v3_small": _arch(_SMALL, head=1024),
}
NETWORKS = {
    **{name: Network(arch) for name, arch in _PUBLISHED.items()},
    **{f"{name}_minimalistic": Network(_minimalistic(a)) for name, a in _PUBLISHED.items()},
}
