"""FractalNet-like networks: blocks of paths of 1, 2, 4, ... convolutions, joined by their mean.

Searched:  width; columns, and so the depth, per block; kernel; dropout in the blocks; early
           stride; style.
Fixed:     channels doubled and resolution halved (2x2 max pooling) per block.
Source:    Larsson et al. 2017, https://arxiv.org/abs/1605.07648, sections 2 to 4.

A block is `f_1(z) = conv(z)`, `f_{C+1}(z) = join(f_C(f_C(z)), conv(z))`. `style.stochastic_depth`
is the probability that a join drops a path in training (local drop-path, the same everywhere).
The shortest path of a join always stays, and paths that are kept are scaled up; the authors average
the paths that are left instead. Their global drop-path (one column for a whole image) is missing.
"""

from typing import Any

import keras

from search_spaces.base import (
    ArchBase,
    Choices,
    Network,
    Shape,
    Style,
    conv,
    layers,
    network,
    pixels,
    sample_style,
    scores,
)


class Block(ArchBase):
    """Paths at one resolution, which the pooling after them halves."""

    width: int  # channels
    columns: int  # paths; the longest has 2 ** (columns - 1) convolutions
    dropout: float = 0.0  # after each convolution, 0..1


class Arch(ArchBase):
    """One network."""

    blocks: tuple[Block, ...]
    kernel: int = 3  # side, pixels
    stem: int = 0  # channels of a 3x3 convolution before the blocks; 0: no such convolution
    stem_stride: int = 1  # early reduction of the resolution, by the stem
    style: Style = Style()


def sample(hp: Choices) -> Arch:
    """Choose one network; the first value of every choice is the cheapest."""
    width = hp.Choice("width", [8, 12, 16, 24, 32])
    dropout = hp.Choice("block_dropout", [0.0, 0.1])
    return Arch(
        stem=width,
        stem_stride=hp.Choice("stem_stride", [2, 1]),
        kernel=hp.Choice("kernel", [3, 5]),
        blocks=tuple(
            Block(
                width=width * 2**i,
                columns=hp.Choice(f"columns_{i + 1}", [1, 2, 3]),
                dropout=dropout * i,
            )
            for i in range(3)
        ),
        style=sample_style(hp, stochastic_depths=(0.0, 0.15)),
    )


def build(arch: Arch, input_shape: Shape, num_classes: int) -> keras.Model:
    """Construct the untrained network: images in 0..255 `[B, H, W, C]` -> scores `[B, K]`."""
    inputs, x = pixels(input_shape)
    if arch.stem:
        x = conv(x, arch.stem, 3, arch.stem_stride, name="stem", style=arch.style)
    for i, block in enumerate(arch.blocks, 1):
        x = _join(_fractal(x, block, block.columns, arch, f"block{i}"), arch, f"block{i}_join")
        x = layers.MaxPooling2D(2, 2, padding="same", name=f"block{i}_pool")(x)
    return network(inputs, scores(x, num_classes, arch.style), name="fractalnet")


def _fractal(x: Any, block: Block, columns: int, arch: Arch, name: str) -> list[Any]:
    """The paths of a fractal, shortest first; the caller joins them."""
    y = conv(x, block.width, arch.kernel, name=f"{name}_column{columns}", style=arch.style)
    if block.dropout:
        y = layers.Dropout(block.dropout, name=f"{name}_dropout")(y)
    if columns == 1:
        return [y]
    half = _fractal(x, block, columns - 1, arch, f"{name}_1")
    middle = _join(half, arch, f"{name}_1_join")
    return [y, *_fractal(middle, block, columns - 1, arch, f"{name}_2")]


def _join(paths: list[Any], arch: Arch, name: str) -> Any:
    """Mean of the paths; training drops some of them at random."""
    shortest, *others = paths
    if not others:
        return shortest
    if rate := arch.style.stochastic_depth:
        others = [
            layers.StochasticDepth(rate, name=f"{name}_drop{i}")(path)
            for i, path in enumerate(others, 1)
        ]
    return layers.Average(name=name)([shortest, *others])


def _cifar(columns: int, width: int, dropout: float, num_classes: int) -> Network:
    """Five blocks; dropout grows by `dropout` from each to the next."""
    blocks = tuple(
        Block(width=width * factor, columns=columns, dropout=dropout * i)
        for i, factor in enumerate((1, 2, 4, 8, 8))
    )
    return Network(
        Arch(blocks=blocks, style=Style(stochastic_depth=0.15)), (32, 32, 3), num_classes
    )


NETWORKS = {
    "fractalnet_20_cifar": _cifar(3, 64, 0.1, num_classes=10),
    # a quarter of the width, for CIFAR-100: table 3
    **{
        f"fractalnet_{5 * 2 ** (columns - 1)}_narrow_cifar100": _cifar(columns, 16, 0.0, 100)
        for columns in (1, 2, 3, 4, 5)
    },
    "fractalnet": _cifar(3, 64, 0.1, num_classes=10),  # another name of the first
}
