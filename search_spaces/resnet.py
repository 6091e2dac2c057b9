"""ResNet-like networks of basic blocks: a stem, stages of two 3x3 convolutions, a head.

Searched:  width; depth per stage; early stride; style.
Fixed:     3x3 kernels, resolution halved and channels doubled per stage.
Source:    He et al. 2015, https://arxiv.org/abs/1512.03385, sections 3.3 and 4.2.
"""

from typing import Any, Literal

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
    pixels,
    sample_style,
    scores,
)
from search_spaces.blocks import residual

Shortcut = Literal["project", "plain", "pad"]


class Arch(ArchBase):
    """One network."""

    width: int  # channels of the first stage
    depths: tuple[int, ...]  # blocks per stage
    stem_kernel: int = 3  # side, pixels
    stem_stride: int = 1  # early reduction of the resolution
    stem_pool: bool = False  # a 3x3 max pooling with stride 2 after the stem
    shortcut: Shortcut = "project"  # 1x1 convolution (B), that without norm, or zeros (A)
    bias: bool = False  # convolutions keep a bias beside the normalization
    style: Style = Style()


def sample(hp: Choices) -> Arch:
    """Choose one network; the first value of every choice is the cheapest."""
    return Arch(
        width=hp.Choice("width", [8, 12, 16, 24, 32]),
        stem_stride=hp.Choice("stem_stride", [2, 1]),
        depths=tuple(hp.Choice(f"depth_{i}", [1, 2, 3]) for i in (1, 2, 3)),
        style=sample_style(hp, stochastic_depths=(0.0, 0.2)),
    )


def build(arch: Arch, input_shape: Shape, num_classes: int) -> keras.Model:
    """Construct the untrained network: images in 0..255 `[B, H, W, C]` -> scores `[B, K]`."""
    inputs, x = pixels(input_shape)
    x = conv(
        x,
        arch.width,
        arch.stem_kernel,
        arch.stem_stride,
        name="stem",
        style=arch.style,
        bias=arch.bias or None,
    )
    if arch.stem_pool:
        x = layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")(x)
    done, total = 0, sum(arch.depths)
    for i, depth in enumerate(arch.depths):
        for j in range(depth):
            done += 1
            stride = 2 if i > 0 and j == 0 else 1
            name = f"stage{i + 1}_block{j + 1}"
            x = _block(x, arch.width * 2**i, stride, arch, name, done / total)
    return network(inputs, scores(x, num_classes, arch.style), name="resnet")


def _block(x: Any, filters: int, stride: int, arch: Arch, name: str, depth: float) -> Any:
    """Two 3x3 convolutions beside a shortcut, which is adapted where the shapes differ."""
    shared: dict[str, Any] = {"style": arch.style, "bias": arch.bias or None}
    shortcut = x
    if stride != 1 or x.shape[-1] != filters:
        shortcut = _shortcut(x, filters, stride, arch, name)
    y = conv(x, filters, 3, stride, name=f"{name}_conv1", **shared)
    y = conv(y, filters, 3, name=f"{name}_conv2", activate=False, **shared)
    y = residual(shortcut, y, arch.style, name, depth)
    return activation(y, arch.style.activation, f"{name}_{arch.style.activation}")


def _shortcut(x: Any, filters: int, stride: int, arch: Arch, name: str) -> Any:
    """Bring the shortcut to the shape of the branch."""
    if arch.shortcut == "pad":
        # subsample, then zero channels on both sides; channels are the last axis, which padding
        # in "channels_first" order takes for the width
        x = layers.AveragePooling2D(1, stride, name=f"{name}_subsample")(x)
        missing = filters - x.shape[-1]
        sides = ((0, 0), (missing // 2, missing - missing // 2))
        pad = layers.ZeroPadding2D(sides, data_format="channels_first", name=f"{name}_zeros")
        return pad(x) if missing else x
    style = arch.style
    if arch.shortcut == "plain":
        style = style.model_copy(update={"norm": "none"})
    return conv(x, filters, 1, stride, name=f"{name}_shortcut", style=style, activate=False)


def _cifar(blocks: int) -> Network:
    return Network(
        Arch(width=16, depths=(blocks,) * 3, shortcut="pad"), (32, 32, 3), num_classes=10
    )


def _imagenet(*depths: int) -> Network:
    return Network(Arch(width=64, depths=depths, stem_kernel=7, stem_stride=2, stem_pool=True))


NETWORKS = {
    "resnet18": _imagenet(2, 2, 2, 2),
    "resnet34": _imagenet(3, 4, 6, 3),
    **{f"resnet{6 * n + 2}_cifar": _cifar(n) for n in (3, 5, 7, 9, 18)},
    # MLPerf Tiny image classification, https://github.com/mlcommons/tiny
    "resnet8": Network(
        Arch(width=16, depths=(1, 1, 1), shortcut="plain", bias=True), (32, 32, 3), num_classes=10
    ),
}
