"""The family `pretrained` of `search_spaces`: its networks start from trained weights."""

from collections.abc import Iterable, Mapping
from typing import Any

import keras

from pipeline.errors import ModelError
from pipeline.pretrained import efficientnet_lite, narrow
from search_spaces.base import Shape

FAMILY = "pretrained"
SMALLEST = 64  # pixels a side, below which features of photographs of 224 tell little


def check(families: Iterable[str], channels: int) -> None:
    """Refuse a search of the pretrained family where its weights cannot be used.

    Args:
        families: What is searched.
        channels: Of the images.

    Raises:
        ModelError: the weights are not installed, or are for other images.
    """
    if FAMILY not in families:
        return
    efficientnet_lite.installed()
    if channels not in (1, 3):
        raise ModelError(
            f"family {FAMILY} takes images of 1 or 3 channels. Received: channels={channels}. "
            f"Leave {FAMILY} out of search.families"
        )


def suits(image_shape: Shape) -> bool:
    """Whether trained weights may be worth a try: photographs in colour, and they are installed."""
    height, width, channels = image_shape
    if channels != 3 or min(height, width) < SMALLEST:
        return False
    try:
        efficientnet_lite.installed()
    except ModelError:
        return False
    return True


def fill(model: keras.Model, family: str, arch: Mapping[str, Any]) -> list[str]:
    """Give a new network the weights that its family starts from, if it does.

    Args:
        model: Built by the family, untrained.
        family: Name of the family.
        arch: JSON data of its `Arch`.

    Returns:
        Layers that start from random weights; none are named for other families.

    Raises:
        ModelError: the weights are not installed, or are for other images.
    """
    if family != FAMILY:
        return []
    if arch["backbone"] != efficientnet_lite.NETWORK:
        raise ModelError(
            f"no weights for this backbone. Received: {arch['backbone']!r}. "
            f"Known: {efficientnet_lite.NETWORK}"
        )
    model.get_layer("rescaling").offset = efficientnet_lite.OFFSET
    return narrow.copy(efficientnet_lite.load(), model, leave=("logits",))
