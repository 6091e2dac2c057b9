"""ResNet-like networks of basic blocks: a stem, stages of two 3x3 convolutions, a head.

Searched:  width; depth per stage; early stride; init.
Fixed:     3x3 kernels, resolution halved and channels doubled per stage, ReLU, batch norm.
Source:    He et al. 2015, https://arxiv.org/abs/1512.03385, sections 3.3 and 4.2.
"""

from typing import Any

import keras

from search_spaces.base import ArchBase, Choices, Init, Norm, conv, layers, pixels, scores

STAGES = 3


class Arch(ArchBase):
    """One network."""

    width: int  # channels of the first stage
    stem_stride: int  # early reduction of the resolution
    depths: tuple[int, ...]  # blocks per stage
    norm: Norm = "batch"
    init: Init = "he_normal"


def sample(hp: Choices) -> Arch:
    """Choose one network; the first value of every choice is the cheapest."""
    return Arch(
        width=hp.Choice("width", [8, 12, 16, 24, 32]),
        stem_stride=hp.Choice("stem_stride", [2, 1]),
        depths=tuple(hp.Choice(f"depth_{i}", [1, 2, 3]) for i in range(1, STAGES + 1)),
        init=hp.Choice("init", ["he_normal", "glorot_uniform"]),
    )


def build(arch: Arch, input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """Construct the untrained network: images in 0..255 `[B, H, W, C]` -> scores `[B, K]`."""
    inputs, x = pixels(input_shape)
    shared: dict[str, Any] = {"norm": arch.norm, "init": arch.init}
    x = conv(x, arch.width, 3, arch.stem_stride, name="stem", activation="relu", **shared)
    for i, depth in enumerate(arch.depths):
        for j in range(depth):
            stride = 2 if i > 0 and j == 0 else 1
            x = _block(x, arch.width * 2**i, stride, f"stage{i + 1}_block{j + 1}", shared)
    return keras.Model(inputs, scores(x, num_classes, arch.init), name="resnet")


def _block(x: Any, filters: int, stride: int, name: str, shared: dict[str, Any]) -> Any:
    """Two 3x3 convolutions beside a shortcut, projected by a 1x1 where the shapes differ."""
    shortcut = x
    if stride != 1 or x.shape[-1] != filters:
        shortcut = conv(x, filters, 1, stride, name=f"{name}_shortcut", **shared)
    y = conv(x, filters, 3, stride, name=f"{name}_conv1", activation="relu", **shared)
    y = conv(y, filters, 3, 1, name=f"{name}_conv2", **shared)
    y = layers.Add(name=f"{name}_add")([shortcut, y])
    return layers.ReLU(name=f"{name}_relu")(y)
