"""Vision transformers: patches or a convolutional stem, blocks of attention and MLP, a head.

Searched:  width; depth; heads; MLP expansion; side of the patches; stem of patches or of 3x3
           convolutions; class token or mean; style.
Fixed:     layer normalization before attention and MLP (the style's norm is the stem's); learned
           positions; the patch is fitted to the image where it would give too few or many tokens.
Source:    Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929, table 1; the convolutional
           stem is Xiao et al. 2021, https://arxiv.org/abs/2106.14881, section 4.
"""

import math
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
    initializer,
    layers,
    network,
    pixels,
    sample_style,
    scores,
)
from search_spaces.blocks import residual

UNDEPLOYABLE = {
    "edgetpu": "it maps neither layer normalization nor dense layers over tokens",
    "ethos_u": "layer normalization leaves NEG in floating point",
    "mobile_cpu": "layer normalization leaves NEG in floating point",
}
EPSILON = 1e-6  # of layer normalization
MAX_TOKENS = 1500  # the cost of attention grows with their square


class Arch(ArchBase):
    """One network."""

    width: int  # channels of a token
    depth: int  # blocks
    heads: int  # heads of attention, which divide the width between them
    mlp: int = 4  # hidden channels / width
    patch: int = 16  # side of the pixels that make a token, a power of two
    conv_stem: bool = False  # 3x3 convolutions with stride 2 and a 1x1, in place of patches
    class_token: bool = True  # scores come from an extra token; False: from the mean of all tokens
    style: Style = Style(activation="gelu")


def sample(hp: Choices) -> Arch:
    """Choose one network; the first value of every choice is the cheapest."""
    return Arch(
        width=hp.Choice("width", [32, 48, 64, 96, 128]),
        depth=hp.Choice("depth", [2, 3, 4, 6]),
        heads=hp.Choice("heads", [2, 4]),
        mlp=hp.Choice("mlp", [2, 3, 4]),
        patch=hp.Choice("patch", [16, 8, 4]),
        conv_stem=hp.Choice("conv_stem", [False, True]),
        class_token=hp.Choice("class_token", [False, True]),
        style=sample_style(hp, activations=("relu", "gelu"), stochastic_depths=(0.0, 0.1)),
    )


def build(arch: Arch, input_shape: Shape, num_classes: int) -> keras.Model:
    """Construct the untrained network: images in 0..255 `[B, H, W, C]` -> scores `[B, K]`."""
    inputs, x = pixels(input_shape)
    x = _stem(x, arch, _patch(arch.patch, input_shape))
    tokens = x.shape[1] * x.shape[2]
    x = layers.Reshape((tokens, arch.width), name="tokens")(x)
    if arch.class_token:
        x = layers.ClassToken(name="class_token")(x)
    x = layers.PositionEmbedding(name="position")(x)
    for i in range(arch.depth):
        x = _block(x, arch, f"block{i + 1}", i / max(1, arch.depth - 1))
    x = layers.LayerNormalization(epsilon=EPSILON, name="norm")(x)
    if arch.class_token:
        x = layers.Cropping1D((0, tokens), name="first")(x)
        x = layers.Flatten(name="flat")(x)
    else:
        x = layers.GlobalAveragePooling1D(name="pool")(x)
    return network(inputs, scores(x, num_classes, arch.style, pool=False), name="vit")


def _patch(side: int, input_shape: Shape) -> int:
    """Halve or double a patch until a side has two tokens and the image at most `MAX_TOKENS`.

    >>> _patch(16, (224, 224, 3)), _patch(16, (8, 8, 1)), _patch(4, (300, 300, 3))
    (16, 4, 8)
    """
    height, width = input_shape[:2]
    while 1 < side >= min(height, width):
        side //= 2
    while math.ceil(height / side) * math.ceil(width / side) > MAX_TOKENS:
        side *= 2
    return side


def _stem(x: Any, arch: Arch, patch: int) -> Any:
    """`[B, H, W, C]` -> `[B, H / patch, W / patch, width]`."""
    bare = arch.style.model_copy(update={"norm": "none"})
    if not arch.conv_stem:
        return conv(x, arch.width, patch, patch, name="patches", style=bare, activate=False)
    style = arch.style.model_copy(update={"activation": "relu"})
    halvings = math.ceil(math.log2(patch))
    for i in range(halvings):
        filters = max(8, arch.width // 2 ** (halvings - 1 - i))
        x = conv(x, filters, 3, 2, name=f"stem{i + 1}", style=style)
    return conv(x, arch.width, 1, name="patches", style=bare, activate=False)


def _block(x: Any, arch: Arch, name: str, depth: float) -> Any:
    """Attention, then two dense layers, each after a normalization and beside a shortcut."""
    style, start = arch.style, initializer(arch.style.init)
    y = layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_norm1")(x)
    attention = layers.MultiHeadAttention(
        arch.heads,
        arch.width // arch.heads,
        kernel_initializer=start,
        name=f"{name}_attention",
    )
    x = residual(x, attention(y, y), style, f"{name}_attention", depth)
    y = layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_norm2")(x)
    hidden = arch.width * arch.mlp
    y = layers.Dense(hidden, kernel_initializer=start, name=f"{name}_expand")(y)
    y = activation(y, style.activation, f"{name}_{style.activation}")
    y = layers.Dense(arch.width, kernel_initializer=start, name=f"{name}_project")(y)
    return residual(x, y, style, f"{name}_mlp", depth)


NETWORKS = {
    "vit_b16": Network(Arch(width=768, depth=12, heads=12)),
    "vit_b32": Network(Arch(width=768, depth=12, heads=12, patch=32)),
    "vit_l16": Network(Arch(width=1024, depth=24, heads=16)),
    "vit_c_1gf": Network(Arch(width=192, depth=11, heads=3, mlp=3, conv_stem=True)),
    "vit_c_4gf": Network(Arch(width=384, depth=11, heads=6, mlp=3, conv_stem=True)),
}
