"""AlexNet-like networks: a large first kernel, overlapping max pooling, dense layers.

Searched:  width; middle convolutions; kernels; groups; early stride; pooling window; units of the
           two hidden dense layers; style.
Fixed:     widths in the ratio 1:2:3:2, three halvings by pooling; dense layers without
           normalization.
Source:    Krizhevsky et al. 2012, sections 3.3 to 3.5,
           https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks;
           Zeiler & Fergus 2013, https://arxiv.org/abs/1311.2901, figure 3.

Local response normalization follows the activation of the first two convolutions, as in the
paper; every other normalization stands before the activation of all of them.
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
    initializer,
    layers,
    network,
    normalize,
    pixels,
    sample_style,
    scores,
)

Padding = Literal["same", "valid"]
# The Edge TPU compiler refuses grouped convolutions. An Ethos-U leaves convolutions with padding
# and a stride above 3 to the CPU.
UNDEPLOYABLE_CHOICES = {"edgetpu": {"groups": (2,)}, "ethos_u": {"stem_stride": (4,)}}


class Stage(ArchBase):
    """One convolution, and the max pooling with stride 2 that may follow it."""

    filters: int  # channels
    kernel: int = 3  # side, pixels
    stride: int = 1
    groups: int = 1  # groups of channels that are convolved independently
    padding: Padding = "same"
    pool: Padding | None = None  # padding of the pooling; None: no pooling


class Arch(ArchBase):
    """One network."""

    stages: tuple[Stage, ...]
    pool: int = 3  # side of the pooling window, pixels; above 2 windows overlap
    dense: tuple[int, ...]  # units of the hidden dense layers
    style: Style = Style(norm="none")


def sample(hp: Choices) -> Arch:
    """Choose one network; the first value of every choice is the cheapest."""
    width = hp.Choice("width", [8, 12, 16, 24, 32])
    groups = hp.Choice("groups", [2, 1])
    stem = Stage(
        filters=width,
        kernel=hp.Choice("kernel_1", [5, 7, 11]),
        stride=hp.Choice("stem_stride", [4, 2]),
        pool="same",
    )
    second = Stage(
        filters=2 * width, kernel=hp.Choice("kernel_2", [3, 5]), groups=groups, pool="same"
    )
    middle = (
        Stage(filters=3 * width, groups=groups if i else 1)
        for i in range(hp.Choice("depth", [1, 2, 3]))
    )
    last = Stage(filters=2 * width, groups=groups, pool="same")
    return Arch(
        stages=(stem, second, *middle, last),
        pool=hp.Choice("pool", [3, 2]),
        dense=(hp.Choice("dense", [64, 128, 256]),) * 2,
        style=sample_style(hp, norms=("batch", "none"), dropouts=(0.0, 0.2, 0.5)),
    )


def build(arch: Arch, input_shape: Shape, num_classes: int) -> keras.Model:
    """Construct the untrained network: images in 0..255 `[B, H, W, C]` -> scores `[B, K]`."""
    inputs, x = pixels(input_shape, _smallest(arch))
    style = arch.style
    responses = style.norm == "local_response"
    options: dict[str, Any] = {
        "style": style.model_copy(update={"norm": "none"}) if responses else style
    }
    for i, stage in enumerate(arch.stages, 1):
        options |= {"groups": stage.groups, "padding": stage.padding}
        x = conv(x, stage.filters, stage.kernel, stage.stride, name=f"conv{i}", **options)
        if responses and i <= 2:
            x = normalize(x, "local_response", f"conv{i}_norm")
        if stage.pool:
            x = layers.MaxPooling2D(arch.pool, 2, padding=stage.pool, name=f"pool{i}")(x)
    x = layers.Flatten(name="flatten")(x)
    for i, units in enumerate(arch.dense, 1):
        if i > 1 and style.dropout:  # `scores` adds the dropout of the last hidden layer
            x = layers.Dropout(style.dropout, name=f"dropout{i - 1}")(x)
        x = layers.Dense(units, kernel_initializer=initializer(style.init), name=f"dense{i}")(x)
        x = activation(x, style.activation, f"dense{i}_{style.activation}")
    return network(inputs, scores(x, num_classes, style, pool=False), name="alexnet")


def _smallest(arch: Arch) -> int:
    """Side in pixels of the smallest image from which every layer still makes one output."""
    side = 1
    for stage in reversed(arch.stages):
        if stage.pool:
            side = 2 * (side - 1) + (arch.pool if stage.pool == "valid" else 1)
        side = stage.stride * (side - 1) + (stage.kernel if stage.padding == "valid" else 1)
    return side


def _alexnet(groups: int) -> Network:
    stages = (
        Stage(filters=96, kernel=11, stride=4, padding="valid", pool="valid"),
        Stage(filters=256, kernel=5, groups=groups, pool="valid"),
        Stage(filters=384),
        Stage(filters=384, groups=groups),
        Stage(filters=256, groups=groups, pool="valid"),
    )
    return Network(Arch(stages=stages, dense=(4096, 4096), style=_PAPER), (227, 227, 3))


_PAPER = Style(norm="local_response", init="gaussian", dropout=0.5)
# The paper does not state the padding. Its maps of 110, 55, 26, 13 and 6 pixels follow if the first
# two convolutions have none and the poolings round up. Its contrast normalization is taken to be
# the local response normalization of AlexNet.
_ZFNET = (
    Stage(filters=96, kernel=7, stride=2, padding="valid", pool="same"),
    Stage(filters=256, kernel=5, stride=2, padding="valid", pool="same"),
    Stage(filters=512),
    Stage(filters=1024),
    Stage(filters=512, pool="valid"),
)
NETWORKS = {
    "alexnet": _alexnet(groups=2),
    "alexnet_ungrouped": _alexnet(groups=1),
    "zfnet": Network(Arch(stages=_ZFNET, dense=(4096, 4096), style=_PAPER), (225, 225, 3)),
}
