"""Wide residual networks: few pre-activation basic blocks, with many channels each.

Searched:  width and widening factor; depth per stage; dropout in the blocks; early stride; style.
Fixed:     3x3 kernels, resolution halved and channels doubled per stage.
Source:    Zagoruyko & Komodakis 2016, https://arxiv.org/abs/1605.07146, table 1, section 2.4.
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


class Arch(ArchBase):
    """One network."""

    width: int  # channels of the stem
    factor: int  # widening: channels of the first stage / channels of the stem
    depths: tuple[int, ...]  # blocks per stage
    stem_stride: int = 1  # early reduction of the resolution
    block_dropout: float = 0.0  # between the two convolutions of a block, 0..1
    style: Style = Style()


def sample(hp: Choices) -> Arch:
    """Choose one network; the first value of every choice is the cheapest."""
    return Arch(
        width=hp.Choice("width", [8, 16]),
        factor=hp.Choice("factor", [1, 2, 3, 4]),
        stem_stride=hp.Choice("stem_stride", [2, 1]),
        depths=tuple(hp.Choice(f"depth_{i}", [1, 2, 3]) for i in (1, 2, 3)),
        block_dropout=hp.Choice("block_dropout", [0.0, 0.1, 0.3]),
        style=sample_style(hp, stochastic_depths=(0.0, 0.2)),
    )


def build(arch: Arch, input_shape: Shape, num_classes: int) -> keras.Model:
    """Construct the untrained network: images in 0..255 `[B, H, W, C]` -> scores `[B, K]`."""
    inputs, x = pixels(input_shape)
    x = _conv(x, arch.width, 3, arch.stem_stride, "stem", arch.style)
    done, total = 0, sum(arch.depths)
    for i, depth in enumerate(arch.depths):
        for j in range(depth):
            done += 1
            stride = 2 if i > 0 and j == 0 else 1
            filters, name = arch.width * arch.factor * 2**i, f"stage{i + 1}_block{j + 1}"
            x = _block(x, filters, stride, arch, name, done / total)
    x = _preactivate(x, arch.style, "head")
    return network(inputs, scores(x, num_classes, arch.style), name="wide_resnet")


def _block(x: Any, filters: int, stride: int, arch: Arch, name: str, depth: float) -> Any:
    """Two 3x3 convolutions, each after its normalization, beside a shortcut."""
    style = arch.style
    shortcut, y = x, _preactivate(x, style, name)
    if stride != 1 or x.shape[-1] != filters:
        shortcut = _conv(y, filters, 1, stride, f"{name}_shortcut", style)
    # followed by the normalization that comes before the second convolution
    y = conv(y, filters, 3, stride, name=f"{name}_conv1", style=style)
    if arch.block_dropout:
        y = layers.Dropout(arch.block_dropout, name=f"{name}_dropout")(y)
    y = _conv(y, filters, 3, 1, f"{name}_conv2", style)
    return residual(shortcut, y, style, name, depth)


def _preactivate(x: Any, style: Style, name: str) -> Any:
    x = normalize(x, style.norm, f"{name}_norm")
    return activation(x, style.activation, f"{name}_{style.activation}")


def _conv(x: Any, filters: int, kernel: int, stride: int, name: str, style: Style) -> Any:
    """Convolution without normalization or activation; it has a bias only if nothing normalizes."""
    bias = style.norm == "none"
    plain = style.model_copy(update={"norm": "none"})
    return conv(x, filters, kernel, stride, name=name, style=plain, activate=False, bias=bias)


def _cifar(convolutions: int, factor: int) -> Network:
    """WRN-n-k: `n = 6 N + 4` convolutions, the 4 being the stem and the shortcuts."""
    blocks = (convolutions - 4) // 6
    return Network(Arch(width=16, factor=factor, depths=(blocks,) * 3), (32, 32, 3), num_classes=10)


NETWORKS = {f"wrn_{n}_{k}": _cifar(n, k) for n, k in ((16, 8), (28, 10), (40, 4))}
