"""ResNet-like networks of bottleneck blocks: 1x1 narrows, k x k in groups, 1x1 widens.

Searched:  width; cardinality and width of a group; kernel; depth per stage; pre-activation;
           early stride; style.
Fixed:     resolution halved and channels doubled per stage, projections as shortcuts.
Source:    He et al. 2015, https://arxiv.org/abs/1512.03385, table 1;
           He et al. 2016, https://arxiv.org/abs/1603.05027 (pre-activation);
           Xie et al. 2017, https://arxiv.org/abs/1611.05431, table 1 (groups);
           Zagoruyko & Komodakis 2016, https://arxiv.org/abs/1605.07146 (wide 50-2).
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
    layers,
    network,
    normalize,
    pixels,
    sample_style,
    scores,
)
from search_spaces.blocks import residual

UNDEPLOYABLE_CHOICES = {"edgetpu": {"groups": (2, 4, 8)}}
EPSILON = 1.001e-5  # of batch normalization, as in keras.applications


class Arch(ArchBase):
    """One network."""

    width: int  # output channels of the first stage
    depths: tuple[int, ...]  # blocks per stage
    groups: int = 1  # groups of the middle convolution (cardinality)
    group_width: int = 64  # channels of a group in the first stage
    kernel: int = 3  # side of the middle convolution, pixels, odd
    preact: bool = False  # normalize before convolutions, stride in the last block of a stage (v2)
    stride_first: bool = False  # stride in the first 1x1 (v1), not in the middle (v1.5)
    bias: bool = False  # convolutions keep a bias beside the normalization
    stem: int = 64  # channels
    stem_kernel: int = 3  # side, pixels, odd
    stem_stride: int = 1  # early reduction of the resolution
    stem_pool: bool = False  # a 3x3 max pooling with stride 2 after the stem
    style: Style = Style()


def sample(hp: Choices) -> Arch:
    """Choose one network; the first value of every choice is the cheapest."""
    return Arch(
        width=hp.Choice("width", [16, 24, 32, 48, 64, 96]),
        groups=hp.Choice("groups", [1, 2, 4, 8]),
        group_width=hp.Choice("group_width", [4, 8, 16, 24]),
        kernel=hp.Choice("kernel", [3, 5]),
        preact=hp.Choice("preact", [True, False]),
        stem=16,
        stem_stride=hp.Choice("stem_stride", [2, 1]),
        depths=tuple(hp.Choice(f"depth_{i}", [1, 2, 3, 4]) for i in (1, 2, 3)),
        style=sample_style(hp, stochastic_depths=(0.0, 0.2)),
    )


def build(arch: Arch, input_shape: Shape, num_classes: int) -> keras.Model:
    """Construct the untrained network: images in 0..255 `[B, H, W, C]` -> scores `[B, K]`."""
    inputs, x = pixels(input_shape)
    x = conv(
        x,
        arch.stem,
        arch.stem_kernel,
        arch.stem_stride,
        name="stem",
        style=_plain(arch.style) if arch.preact else arch.style,
        activate=not arch.preact,
        bias=arch.bias or None,
        padding="symmetric",
        epsilon=EPSILON,
    )
    if arch.stem_pool:
        x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
        x = layers.MaxPooling2D(3, 2, name="stem_pool")(x)
    done, total = 0, sum(arch.depths)
    for i, depth in enumerate(arch.depths):
        for j in range(depth):
            done += 1
            x = _block(x, i, _stride(arch, i, j), arch, f"stage{i + 1}_block{j + 1}", done / total)
    if arch.preact:
        x = _preactivate(x, arch.style, "head")
    return network(inputs, scores(x, num_classes, arch.style), name="bottleneck")


def _stride(arch: Arch, stage: int, block: int) -> int:
    """Stride of a block: 2 in the first block of a new stage, or (v2) in the last before it."""
    if arch.preact:
        return 2 if block == arch.depths[stage] - 1 and stage < len(arch.depths) - 1 else 1
    return 2 if block == 0 and stage > 0 else 1


def _block(x: Any, stage: int, stride: int, arch: Arch, name: str, depth: float) -> Any:
    """Three convolutions beside a shortcut, which is adapted where the shapes differ."""
    filters, inner = arch.width * 2**stage, arch.groups * arch.group_width * 2**stage
    style, last = arch.style, _plain(arch.style) if arch.preact else arch.style
    shared: dict[str, Any] = {"bias": arch.bias or None, "epsilon": EPSILON}
    shortcut, y = x, _preactivate(x, style, name) if arch.preact else x
    if x.shape[-1] != filters or (stride > 1 and not arch.preact):
        project: dict[str, Any] = {"style": last, "activate": False, **shared}
        shortcut = conv(y, filters, 1, stride, name=f"{name}_shortcut", **project)
    elif stride > 1:
        shortcut = layers.MaxPooling2D(1, stride, name=f"{name}_subsample")(x)
    first, middle = (stride, 1) if arch.stride_first else (1, stride)
    y = conv(y, inner, 1, first, name=f"{name}_conv1", style=style, **shared)
    y = conv(
        y,
        inner,
        arch.kernel,
        middle,
        name=f"{name}_conv2",
        style=style,
        groups=arch.groups,
        padding="symmetric" if middle > 1 else "same",
        **shared,
    )
    y = conv(y, filters, 1, name=f"{name}_conv3", style=last, activate=False, **shared)
    y = residual(shortcut, y, style, name, depth)
    return y if arch.preact else activation(y, style.activation, f"{name}_{style.activation}")


def _preactivate(x: Any, style: Style, name: str) -> Any:
    x = normalize(x, style.norm, f"{name}_norm", EPSILON)
    return activation(x, style.activation, f"{name}_{style.activation}")


def _plain(style: Style) -> Style:
    """The style of a convolution that no normalization follows."""
    return style.model_copy(update={"norm": "none"})


_DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def _imagenet(convolutions: int, **settings: Any) -> Network:
    stem = {"stem": 64, "stem_kernel": 7, "stem_stride": 2, "stem_pool": True}
    return Network(Arch(width=256, depths=_DEPTHS[convolutions], **stem, **settings))


NETWORKS = {
    # as published in 2015: stride in the first 1x1
    **{f"resnet{n}": _imagenet(n, stride_first=True) for n in _DEPTHS},
    # as in torchvision: stride in the 3x3
    **{f"resnet{n}_v1_5": _imagenet(n) for n in _DEPTHS},
    # as in keras.applications: a bias in every convolution
    **{f"resnet{n}_keras": _imagenet(n, stride_first=True, bias=True) for n in _DEPTHS},
    **{f"resnet{n}_v2": _imagenet(n, preact=True) for n in _DEPTHS},
    "resnext50_32x4d": _imagenet(50, groups=32, group_width=4),
    "resnext101_32x4d": _imagenet(101, groups=32, group_width=4),
    "resnext101_32x8d": _imagenet(101, groups=32, group_width=8),
    "wide_resnet50_2": _imagenet(50, group_width=128),
    "wide_resnet101_2": _imagenet(101, group_width=128),
}
