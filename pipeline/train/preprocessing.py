"""Preprocessing: what a network does to pixels first, from statistics of the training images.

Source:  mean image, Krizhevsky et al. 2012, section 2, https://papers.nips.cc/paper/4824;
         mean of each channel, Simonyan & Zisserman 2015, section 2.1,
         https://arxiv.org/abs/1409.1556.
"""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.data.datasets import Split
from pipeline.errors import ModelError

Preprocessing = Literal["fixed", "mean_std", "channel_mean", "channel_mean_std", "mean_image"]
LAYER = "rescaling"  # every family's first
FIXED = 1 / 128  # its scale, and that of the kinds that only subtract a mean
IMAGES = 1024  # that are read at a time


def apply(model: Any, kind: Preprocessing, split: Split) -> None:
    """Let the first layer of an untrained network do `x scale + offset` with these statistics.

    With means `m` and deviations `s` of the pixels:

    - fixed: `x / 128 - 1`, what the layer does anyway.
    - mean_std: `(x - m) / s`, one of each for all pixels.
    - channel_mean: `(x - m) / 128`, a mean per channel.
    - channel_mean_std: `(x - m) / s`, one of each per channel.
    - mean_image: `(x - m) / 128`, a mean per channel of every place.

    Numbers of their own for each channel or place stay a layer in front; one number for all is
    what the scale and zero point of an int8 input are.

    Args:
        model: Has a `Rescaling` named "rescaling".
        kind: Which statistics.
        split: The training images; nothing else may be looked at.

    Raises:
        ModelError: the network has no such layer, and the kind is another than fixed.
    """
    if kind == "fixed":
        return
    layer = next((layer for layer in model.layers if layer.name == LAYER), None)
    if layer is None:
        raise ModelError(
            f"the network does not rescale its pixels. Received: model={model.name!r}, "
            f"preprocessing={kind!r}. Leave preprocessing out"
        )
    layer.scale, layer.offset = _numbers(kind, *_moments(split))


def _numbers(
    kind: Preprocessing, mean: npt.NDArray[np.float64], square: npt.NDArray[np.float64]
) -> tuple[Any, Any]:
    """Scale and offset from the means `[H, W, C]` of `x` and `x^2` at every place."""
    over = {"mean_std": (0, 1, 2), "mean_image": ()}.get(kind, (0, 1))
    mean, square = (np.mean(values, axis=over) for values in (mean, square))
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    # of a channel without any contrast, only the mean is subtracted
    scale = np.where(deviation > 0, 1 / np.maximum(deviation, 1e-12), FIXED)
    if kind in ("channel_mean", "mean_image"):
        return FIXED, (-mean * FIXED).tolist()
    return scale.tolist(), (-mean * scale).tolist()


def _moments(split: Split) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean of `x` and of `x^2` at every place, `[H, W, C]`; images are read bit by bit."""
    total = np.zeros(split.images.shape[1:])
    squares = np.zeros(split.images.shape[1:])
    for start in range(0, len(split), IMAGES):
        part = split.images[split.index[start : start + IMAGES]].astype(np.float64)
        total += part.sum(axis=0)
        squares += (part**2).sum(axis=0)
    return total / len(split), squares / len(split)
