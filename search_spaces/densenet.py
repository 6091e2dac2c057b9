"""DenseNet-like networks: every layer reads what all layers before it in its block wrote.

Searched:  growth rate; depth per block; bottleneck; kernel; compression; dropout in the blocks;
           early stride; style.
Fixed:     transitions (1x1 convolution and 2x2 average pooling) halve the resolution.
Source:    Huang et al. 2017, https://arxiv.org/abs/1608.06993, table 1 and section 3.

Stochastic depth drops the channels that a layer adds, as if that layer did not exist.
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

EPSILON = 1.001e-5  # of batch normalization, as in keras.applications


class Arch(ArchBase):
    """One network."""

    growth: int  # channels that a layer adds
    depths: tuple[int, ...]  # layers per block
    stem: int  # channels
    stem_kernel: int = 3  # side, pixels, odd
    stem_stride: int = 1  # early reduction of the resolution
    stem_pool: bool = False  # normalization and a 3x3 max pooling with stride 2 after the stem
    bottleneck: int = 4  # channels of the 1x1 convolution in a layer / growth; 0: there is none
    kernel: int = 3  # side, pixels
    compression: float = 0.5  # channels after a transition / before it, 0..1
    block_dropout: float = 0.0  # after each layer of a block, 0..1
    style: Style = Style()


def sample(hp: Choices) -> Arch:
    """Choose one network; the first value of every choice is the cheapest."""
    growth = hp.Choice("growth", [4, 8, 12, 16, 24])
    return Arch(
        growth=growth,
        stem=2 * growth,
        stem_stride=hp.Choice("stem_stride", [2, 1]),
        depths=tuple(hp.Choice(f"depth_{i}", [2, 4, 6, 8]) for i in (1, 2, 3)),
        bottleneck=hp.Choice("bottleneck", [1, 2, 4]),
        kernel=hp.Choice("kernel", [3, 5]),
        compression=hp.Choice("compression", [0.5, 1.0]),
        block_dropout=hp.Choice("block_dropout", [0.0, 0.2]),
        style=sample_style(hp, stochastic_depths=(0.0, 0.2)),
    )


def build(arch: Arch, input_shape: Shape, num_classes: int) -> keras.Model:
    """Construct the untrained network: images in 0..255 `[B, H, W, C]` -> scores `[B, K]`."""
    inputs, x = pixels(input_shape)
    x = _conv(x, arch.stem, arch.stem_kernel, "stem", arch.style, arch.stem_stride)
    if arch.stem_pool:
        x = _normalize(x, arch.style, "stem")
        x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
        x = layers.MaxPooling2D(3, 2, name="stem_pool")(x)
    done, total = 0, sum(arch.depths)
    for i, depth in enumerate(arch.depths, 1):
        if i > 1:
            x = _transition(x, arch, f"transition{i - 1}")
        for j in range(1, depth + 1):
            done += 1
            x = _layer(x, arch, f"block{i}_layer{j}", done / total)
    x = _normalize(x, arch.style, "head")
    return network(inputs, scores(x, num_classes, arch.style), name="densenet")


def _layer(x: Any, arch: Arch, name: str, depth: float) -> Any:
    """Append `growth` channels computed from all of `x`: `[B, H, W, C + growth]`."""
    y = _normalize(x, arch.style, name)
    if arch.bottleneck:
        y = _conv(y, arch.bottleneck * arch.growth, 1, f"{name}_conv1", arch.style)
        y = _normalize(y, arch.style, f"{name}_conv1")
    y = _conv(y, arch.growth, arch.kernel, f"{name}_conv2", arch.style)
    if arch.block_dropout:
        y = layers.Dropout(arch.block_dropout, name=f"{name}_dropout")(y)
    if rate := depth * arch.style.stochastic_depth:
        y = layers.StochasticDepth(rate, name=f"{name}_drop")(y)
    return layers.Concatenate(name=f"{name}_concat")([x, y])


def _transition(x: Any, arch: Arch, name: str) -> Any:
    """Halve the resolution and compress the channels."""
    x = _normalize(x, arch.style, name)
    x = _conv(x, int(x.shape[-1] * arch.compression), 1, f"{name}_conv", arch.style)
    # as published, pooling drops an odd last row, but never the only row
    padding = "valid" if min(x.shape[1:3]) > 1 else "same"
    return layers.AveragePooling2D(2, 2, padding=padding, name=f"{name}_pool")(x)


def _normalize(x: Any, style: Style, name: str) -> Any:
    """Normalization and activation, which come before convolutions here."""
    x = normalize(x, style.norm, f"{name}_norm", EPSILON)
    return activation(x, style.activation, f"{name}_{style.activation}")


def _conv(x: Any, filters: int, kernel: int, name: str, style: Style, stride: int = 1) -> Any:
    """Convolution without normalization or activation; it has a bias only if nothing normalizes."""
    return conv(
        x,
        filters,
        kernel,
        stride,
        name=name,
        style=style.model_copy(update={"norm": "none"}),
        activate=False,
        bias=style.norm == "none",
        padding="symmetric" if stride > 1 else "same",
    )


def _imagenet(*depths: int) -> Network:
    return Network(
        Arch(growth=32, depths=depths, stem=64, stem_kernel=7, stem_stride=2, stem_pool=True)
    )


NETWORKS = {
    "densenet121": _imagenet(6, 12, 24, 16),
    "densenet169": _imagenet(6, 12, 32, 32),
    "densenet201": _imagenet(6, 12, 48, 32),
    "densenet_40_12_cifar": Network(
        Arch(growth=12, depths=(12, 12, 12), stem=16, bottleneck=0, compression=1.0),
        (32, 32, 3),
        num_classes=10,
    ),
}
