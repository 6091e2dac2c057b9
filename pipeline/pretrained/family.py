"""The family `pretrained` of `search_spaces`: its networks start from trained weights."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras

from pipeline.errors import ModelError
from pipeline.pretrained import efficientnet_lite, narrow
from search_spaces.base import Shape

FAMILY, CHOICE = "pretrained", "backbone"
SMALLEST = 64  # pixels a side, below which features of photographs of 224 tell little


def installed(choices: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """Limit the backbones of the family to those whose weights are installed.

    Args:
        choices: `search.choices` of a recipe: values by `choice` or `family/choice`.

    Returns:
        `choices`; if they name no backbones, with those that are installed.

    Raises:
        ModelError: none is installed, or one that `choices` name is not; says how to install it.
    """
    own = f"{FAMILY}/{CHOICE}"
    asked = choices.get(own, choices.get(CHOICE))
    if asked is None:
        if not (there := efficientnet_lite.available()):
            efficientnet_lite.installed()  # says how to install it
        return {**choices, own: there}
    for name in asked:
        if name in efficientnet_lite.PACKAGES:
            efficientnet_lite.installed(name)
    return dict(choices)


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
    installed({})
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
    return bool(efficientnet_lite.available())


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
    if arch[CHOICE] not in efficientnet_lite.PACKAGES:
        raise ModelError(
            f"no weights for this backbone. Received: {arch[CHOICE]!r}. "
            f"Known: {', '.join(efficientnet_lite.PACKAGES)}"
        )
    model.get_layer("rescaling").offset = efficientnet_lite.OFFSET
    return narrow.copy(efficientnet_lite.load(arch[CHOICE]), model, leave=("logits",))
