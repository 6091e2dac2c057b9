"""ConvNeXt-like networks: patches, stages of wide depthwise convolutions, a head.

Searched:  width; depth per stage; kernel; expansion; side of the patches; batch or layer norm;
           style.
Fixed:     resolution halved and channels doubled per stage; convolutions have a bias. The norm
           "layer" is over the channels of each position. The norm of the head is never one per
           channel or group: the head has one position, which such a norm makes a constant.
Source:    Liu et al. 2022, https://arxiv.org/abs/2201.03545, section 2 and appendix A.
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
from search_spaces.choices import Norm

EPSILON = 1e-6  # of layer normalization

# Layer normalization over channels leaves a floating-point NEG operator in the int8 file.
UNDEPLOYABLE_CHOICES = {"mobile_cpu": {"norm": ("layer",)}}


class Arch(ArchBase):
    """One network."""

    width: int  # channels of the first stage
    depths: tuple[int, ...]  # blocks per stage
    kernel: int = 7  # side of the depthwise kernel, pixels
    expand: int = 4  # hidden channels / channels of the stage
    stem: int = 4  # side of the patches, pixels: early reduction of the resolution
    layer_scale: float = 1e-6  # initial factor of every channel of a branch
    style: Style = Style(norm="layer", activation="gelu")


def sample(hp: Choices) -> Arch:
    """Choose one network; the first value of every choice is the cheapest."""
    return Arch(
        width=hp.Choice("width", [8, 16, 24, 32, 48]),
        depths=tuple(hp.Choice(f"depth_{i}", [1, 2, 3]) for i in (1, 2, 3)),
        kernel=hp.Choice("kernel", [3, 5, 7]),
        expand=hp.Choice("expand", [2, 3, 4]),
        stem=hp.Choice("stem", [4, 2]),
        layer_scale=0.1,  # as Touvron et al. 2021 advise for networks of few blocks
        style=sample_style(
            hp,
            norms=("batch", "layer"),
            activations=("relu", "gelu"),
            stochastic_depths=(0.0, 0.1),
        ),
    )


def build(arch: Arch, input_shape: Shape, num_classes: int) -> keras.Model:
    """Construct the untrained network: images in 0..255 `[B, H, W, C]` -> scores `[B, K]`."""
    inputs, x = pixels(input_shape)
    style, total = arch.style, sum(arch.depths)
    x = _conv(x, arch.width, arch.stem, arch.stem, name="stem", style=style)
    x = _normalize(x, style.norm, "stem_norm")
    done = 0
    for i, depth in enumerate(arch.depths):
        if i > 0:
            x = _normalize(x, style.norm, f"stage{i + 1}_down_norm")
            x = _conv(x, arch.width * 2**i, 2, 2, name=f"stage{i + 1}_down", style=style)
        for j in range(depth):
            x = _block(x, arch, f"stage{i + 1}_block{j + 1}", done / max(1, total - 1))
            done += 1
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = _normalize(x, style.norm if style.norm in ("batch", "none") else "layer", "pool_norm")
    return network(inputs, scores(x, num_classes, style, pool=False), name="convnext")


def _block(x: Any, arch: Arch, name: str, depth: float) -> Any:
    """Depthwise, normalize, expand 1x1, activate, project 1x1, scale, beside a shortcut."""
    channels, style = x.shape[-1], arch.style
    y = _conv(x, channels, arch.kernel, name=f"{name}_depthwise", style=style, depthwise=True)
    y = _normalize(y, style.norm, f"{name}_norm")
    y = _conv(y, channels * arch.expand, 1, name=f"{name}_expand", style=style)
    y = activation(y, style.activation, f"{name}_{style.activation}")
    y = _conv(y, channels, 1, name=f"{name}_project", style=style)
    y = layers.ChannelScale(arch.layer_scale, name=f"{name}_scale")(y)
    return residual(x, y, style, name, depth)


def _conv(
    x: Any,
    filters: int,
    kernel: int,
    stride: int = 1,
    *,
    name: str,
    style: Style,
    depthwise: bool = False,
) -> Any:
    """Convolution with a bias and nothing after it."""
    bare = style.model_copy(update={"norm": "none"})
    return conv(
        x, filters, kernel, stride, name=name, style=bare, activate=False, depthwise=depthwise
    )


def _normalize(x: Any, norm: Norm, name: str) -> Any:
    if norm == "layer":
        return layers.LayerNormalization(epsilon=EPSILON, name=name)(x)
    return normalize(x, norm, name)


def _published(width: int, depths: tuple[int, ...], stochastic_depth: float) -> Network:
    style = Style(norm="layer", activation="gelu", stochastic_depth=stochastic_depth)
    return Network(Arch(width=width, depths=depths, style=style))


NETWORKS = {
    "convnext_tiny": _published(96, (3, 3, 9, 3), 0.1),
    "convnext_small": _published(96, (3, 3, 27, 3), 0.4),
    "convnext_base": _published(128, (3, 3, 27, 3), 0.5),
    "convnext_large": _published(192, (3, 3, 27, 3), 0.5),
}
