"""VGG-like networks: stages of 3x3 convolutions with max pooling between them, a head.

Searched:  width; depth per stage; early stride; style.
Fixed:     3x3 kernels, resolution halved and channels doubled per stage; in `sample` three stages
           and a head of global average pooling; dense layers without normalization.
Source:    Simonyan & Zisserman 2014, https://arxiv.org/abs/1409.1556, table 1 (A to E).
"""

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


class Arch(ArchBase):
    """One network."""

    widths: tuple[int, ...]  # channels of each stage
    depths: tuple[int, ...]  # convolutions of each stage
    pointwise: bool = False  # the third convolution of a stage is 1x1 (C)
    stem_stride: int = 1  # early reduction of the resolution
    dense: tuple[int, ...] = ()  # units of the hidden dense layers; none: global average pooling
    style: Style = Style()


def sample(hp: Choices) -> Arch:
    """Choose one network; the first value of every choice is the cheapest."""
    width = hp.Choice("width", [8, 12, 16, 24, 32])
    return Arch(
        widths=(width, 2 * width, 4 * width),
        depths=tuple(hp.Choice(f"depth_{i}", [1, 2, 3]) for i in (1, 2, 3)),
        stem_stride=hp.Choice("stem_stride", [2, 1]),
        style=sample_style(hp, norms=("batch", "none")),
    )


def build(arch: Arch, input_shape: Shape, num_classes: int) -> keras.Model:
    """Construct the untrained network: images in 0..255 `[B, H, W, C]` -> scores `[B, K]`."""
    # global average pooling needs no max pooling before it
    poolings = len(arch.widths) - (0 if arch.dense else 1)
    inputs, x = pixels(input_shape, smallest=arch.stem_stride * (2**poolings - 1) + 1)
    style = arch.style
    for i, (filters, depth) in enumerate(zip(arch.widths, arch.depths, strict=True), 1):
        for j in range(1, depth + 1):
            kernel = 1 if arch.pointwise and j == 3 else 3
            stride = arch.stem_stride if i == j == 1 else 1
            x = conv(x, filters, kernel, stride, name=f"stage{i}_conv{j}", style=style)
        if i <= poolings:
            x = layers.MaxPooling2D(2, name=f"stage{i}_pool")(x)
    if arch.dense:
        x = layers.Flatten(name="flatten")(x)
    for i, units in enumerate(arch.dense, 1):
        if i > 1 and style.dropout:  # `scores` adds the dropout of the last hidden layer
            x = layers.Dropout(style.dropout, name=f"dropout{i - 1}")(x)
        x = layers.Dense(units, kernel_initializer=initializer(style.init), name=f"dense{i}")(x)
        x = activation(x, style.activation, f"dense{i}_{style.activation}")
    return network(inputs, scores(x, num_classes, style, pool=not arch.dense), name="vgg")


def _vgg(*depths: int, pointwise: bool = False) -> Network:
    arch = Arch(
        widths=(64, 128, 256, 512, 512),
        depths=depths,
        pointwise=pointwise,
        dense=(4096, 4096),
        # the authors started deep networks from trained shallow ones, later from Glorot's weights
        style=Style(norm="none", init="glorot_normal", dropout=0.5),
    )
    return Network(arch)


NETWORKS = {
    "vgg11": _vgg(1, 1, 2, 2, 2),  # A
    "vgg13": _vgg(2, 2, 2, 2, 2),  # B
    "vgg16_c": _vgg(2, 2, 3, 3, 3, pointwise=True),  # C
    "vgg16": _vgg(2, 2, 3, 3, 3),  # D
    "vgg19": _vgg(2, 2, 4, 4, 4),  # E
}
