"""LeNet-like networks: convolutions and subsampling, then dense layers.

Searched:  width; convolutions per stage; kernel; kind of subsampling; early stride; hidden units;
           global average pooling before them or not; style.
Fixed:     two stages in `sample`; subsampling by 2; dense layers without normalization.
Source:    LeCun et al. 1998, https://doi.org/10.1109/5.726791, section II.B and figure 2; the
           Caffe form is that of https://github.com/BVLC/caffe/tree/master/examples/mnist.
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
    pixels,
    sample_style,
    scores,
)


class Arch(ArchBase):
    """One network."""

    filters: tuple[int, ...]  # channels of each stage, which ends in subsampling by 2
    depth: int = 1  # convolutions per stage
    last: int = 0  # channels of a last convolution without subsampling (C5); 0: none
    dense: tuple[int, ...]  # units of the hidden dense layers
    kernel: int = 5  # side, pixels
    padding: Literal["same", "valid"] = "valid"
    stem_stride: int = 1  # early reduction of the resolution
    # max, mean, or the mean with a trained factor and bias per channel and an activation
    pool: Literal["max", "average", "trained"] = "max"
    global_pool: bool = False  # average the maps before the dense layers, else flatten them
    style: Style = Style(norm="none")


def sample(hp: Choices) -> Arch:
    """Choose one network; the first value of every choice is the cheapest."""
    width = hp.Choice("width", [8, 12, 16, 24, 32])
    return Arch(
        filters=(width, 2 * width),
        depth=hp.Choice("depth", [1, 2, 3]),
        dense=(hp.Choice("dense", [32, 64, 128]),),
        kernel=hp.Choice("kernel", [3, 5]),
        padding="same",
        stem_stride=hp.Choice("stem_stride", [2, 1]),
        pool=hp.Choice("pool", ["max", "average", "trained"]),  # type: ignore[arg-type]
        global_pool=hp.Choice("global_pool", [True, False]),
        style=sample_style(hp, norms=("batch", "none"), activations=("relu", "tanh")),
    )


def build(arch: Arch, input_shape: Shape, num_classes: int) -> keras.Model:
    """Construct the untrained network: images in 0..255 `[B, H, W, C]` -> scores `[B, K]`."""
    inputs, x = pixels(input_shape, _smallest(arch))
    style = arch.style
    options: dict[str, Any] = {"style": style, "padding": arch.padding}
    stride = arch.stem_stride
    for i, filters in enumerate(arch.filters, 1):
        for j in range(1, arch.depth + 1):
            x = conv(x, filters, arch.kernel, stride, name=f"stage{i}_conv{j}", **options)
            stride = 1
        x = _subsample(x, arch, f"stage{i}_pool")
    if arch.last:
        x = conv(x, arch.last, arch.kernel, name="last", **options)
    if arch.global_pool:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    else:
        x = layers.Flatten(name="flatten")(x)
    for i, units in enumerate(arch.dense, 1):
        x = layers.Dense(units, kernel_initializer=initializer(style.init), name=f"dense{i}")(x)
        x = activation(x, style.activation, f"dense{i}_{style.activation}")
    return network(inputs, scores(x, num_classes, style, pool=False), name="lenet")


def _subsample(x: Any, arch: Arch, name: str) -> Any:
    """Halve the resolution: `[B, H, W, C]` -> `[B, H // 2, W // 2, C]`."""
    if arch.pool == "max":
        return layers.MaxPooling2D(2, name=name)(x)
    x = layers.AveragePooling2D(2, name=name)(x)
    if arch.pool == "average":
        return x
    # one factor and one bias per channel; it starts as plain average pooling
    x = layers.DepthwiseConv2D(1, depthwise_initializer="ones", name=f"{name}_scale")(x)
    return activation(x, arch.style.activation, f"{name}_{arch.style.activation}")


def _smallest(arch: Arch) -> int:
    """Side in pixels of the smallest image from which every layer still makes one output."""
    lost = arch.kernel - 1 if arch.padding == "valid" else 0
    side = 1 + (lost if arch.last else 0)
    for _ in arch.filters:
        side = 2 * side + arch.depth * lost
    if arch.filters:  # the stride of the first convolution needs a larger image
        side = (side - lost - 1) * arch.stem_stride + 1 + lost
    return side


_LENET5 = Arch(
    filters=(6, 16),
    last=120,
    dense=(84,),
    pool="trained",
    style=Style(norm="none", init="lecun_normal", activation="tanh"),
)
_CAFFE = Style(norm="none", init="glorot_uniform")
NETWORKS = {
    "lenet_300_100": Network(Arch(filters=(), dense=(300, 100), style=_CAFFE), (28, 28, 1), 10),
    # C3 reads all maps of S2, and the scores are a softmax instead of distances to templates
    "lenet5": Network(_LENET5, (32, 32, 1), 10),
    "lenet5_pool": Network(_LENET5.model_copy(update={"pool": "average"}), (32, 32, 1), 10),
    "lenet5_caffe": Network(Arch(filters=(20, 50), dense=(500,), style=_CAFFE), (28, 28, 1), 10),
}
