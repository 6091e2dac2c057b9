"""Network-in-Network: convolutions followed by 1x1 convolutions, class maps averaged to scores.

Searched:  width; per block the 1x1 convolutions and the kernel; kind of pooling; early stride;
           style.
Fixed:     three blocks in `sample`, overlapping 3x3 pooling between them, no dense layer.
Source:    Lin et al. 2013, https://arxiv.org/abs/1312.4400; sizes from the authors' Caffe models,
           https://gist.github.com/mavenlin (CIFAR-10 and ImageNet).
"""

from typing import Literal

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
)

Padding = Literal["same", "valid"]


class Block(ArchBase):
    """An mlpconv layer: a convolution and 1x1 convolutions, pooled except in the last block."""

    widths: tuple[int, ...]  # channels of each convolution; the first has the kernel
    kernel: int  # side, pixels
    stride: int = 1
    padding: Padding = "same"
    pool: Literal["max", "average"] = "max"  # 3x3 with stride 2
    pool_padding: Padding = "same"
    dropout: bool = True  # after the pooling, at the rate of the style


class Arch(ArchBase):
    """One network."""

    blocks: tuple[Block, ...]  # the class maps are one more 1x1 convolution of the last
    rectified: bool = False  # class maps have an activation too, as in the authors' models
    style: Style = Style()


def sample(hp: Choices) -> Arch:
    """Choose one network; the first value of every choice is the cheapest."""
    width = hp.Choice("width", [8, 12, 16, 24, 32])
    pool = hp.Choice("pool", ["max", "average"])
    stem_stride = hp.Choice("stem_stride", [2, 1])
    return Arch(
        blocks=tuple(
            Block(
                widths=(width * times,) * (1 + hp.Choice(f"depth_{i}", [1, 2, 3])),
                kernel=hp.Choice(f"kernel_{i}", [3, 5]),
                stride=stem_stride if i == 1 else 1,
                pool=pool,  # type: ignore[arg-type]
            )
            for i, times in enumerate((1, 2, 4), 1)
        ),
        style=sample_style(hp, norms=("batch", "none"), dropouts=(0.0, 0.2, 0.5)),
    )


def build(arch: Arch, input_shape: Shape, num_classes: int) -> keras.Model:
    """Construct the untrained network: images in 0..255 `[B, H, W, C]` -> scores `[B, K]`."""
    inputs, x = pixels(input_shape, _smallest(arch))
    style = arch.style
    for i, block in enumerate(arch.blocks, 1):
        first, *rest = block.widths
        name = f"block{i}"
        x = conv(
            x,
            first,
            block.kernel,
            block.stride,
            name=f"{name}_conv",
            style=style,
            padding=block.padding,
        )
        for j, filters in enumerate(rest, 1):
            x = conv(x, filters, 1, name=f"{name}_mlp{j}", style=style)
        if i < len(arch.blocks):
            pooling = layers.MaxPooling2D if block.pool == "max" else layers.AveragePooling2D
            x = pooling(3, 2, padding=block.pool_padding, name=f"{name}_pool")(x)
            if style.dropout and block.dropout:
                x = layers.Dropout(style.dropout, name=f"{name}_dropout")(x)
    plain = style.model_copy(update={"norm": "none"})
    x = conv(x, num_classes, 1, name="maps", style=plain, activate=False)
    if arch.rectified:
        x = activation(x, style.activation, f"maps_{style.activation}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return network(inputs, layers.Softmax(name="scores")(x), name="nin")


def _smallest(arch: Arch) -> int:
    """Side in pixels of the smallest image from which every layer still makes one output."""
    side = 1
    for i, block in enumerate(reversed(arch.blocks)):
        if i:
            side = 2 * (side - 1) + (3 if block.pool_padding == "valid" else 1)
        side = block.stride * (side - 1) + (block.kernel if block.padding == "valid" else 1)
    return side


_CIFAR10 = (
    Block(widths=(192, 160, 96), kernel=5),
    Block(widths=(192, 192, 192), kernel=5, pool="average"),
    Block(widths=(192, 192), kernel=3),  # and the class maps
)
# maps of 54, 27, 13 and 6 pixels: Caffe's poolings round up
_IMAGENET = (
    Block(widths=(96,) * 3, kernel=11, stride=4, padding="valid", dropout=False),
    Block(widths=(256,) * 3, kernel=5, pool_padding="valid", dropout=False),
    Block(widths=(384,) * 3, kernel=3, pool_padding="valid"),
    Block(widths=(1024,) * 2, kernel=3),  # and the class maps
)
_STYLE = Style(norm="none", dropout=0.5)
NETWORKS = {
    "nin": Network(Arch(blocks=_IMAGENET, rectified=True, style=_STYLE)),
    "nin_cifar10": Network(Arch(blocks=_CIFAR10, rectified=True, style=_STYLE), (32, 32, 3), 10),
}
