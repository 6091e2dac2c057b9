"""Preprocessing: how a network normalizes pixels, from statistics of the training images.

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
LAYER = "rescaling"  # name of the first layer of every family
FIXED = 1 / 128  # its scale, also for the kinds that only subtract a mean
IMAGES = 1024  # read at a time


def apply(model: Any, kind: Preprocessing, split: Split) -> None:
    """Set scale and offset of the first layer of an untrained network from these statistics.

    With means `m` and deviations `s` of the pixels:

    - fixed: `x / 128 - 1`, which the layer computes by default.
    - mean_std: `(x - m) / s`, one mean and one deviation for all pixels.
    - channel_mean: `(x - m) / 128`, a mean per channel.
    - channel_mean_std: `(x - m) / s`, a mean and a deviation per channel.
    - mean_image: `(x - m) / 128`, a mean per pixel and channel.

    An int8 network computes one number for all pixels at no cost, in the scale and zero point of
    its input; numbers per channel or pixel stay an operator of their own.

    Args:
        model: A network with a layer named "rescaling".
        kind: Which statistics.
        split: The training images; statistics of other images would leak into training.

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
    """Scale and offset from the means `[H, W, C]` of `x` and `x^2` of every pixel."""
    over = {"mean_std": (0, 1, 2), "mean_image": ()}.get(kind, (0, 1))
    mean, square = (np.mean(values, axis=over) for values in (mean, square))
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    # a channel without contrast would divide by zero; only its mean is subtracted
    scale = np.where(deviation > 0, 1 / np.maximum(deviation, 1e-12), FIXED)
    if kind in ("channel_mean", "mean_image"):
        return FIXED, (-mean * FIXED).tolist()
    return scale.tolist(), (-mean * scale).tolist()


def _moments(split: Split) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean of `x` and of `x^2` of every pixel, `[H, W, C]`; reads `IMAGES` images at a time."""
    total = np.zeros(split.images.shape[1:])
    squares = np.zeros(split.images.shape[1:])
    for start in range(0, len(split), IMAGES):
        part = split.images[split.index[start : start + IMAGES]].astype(np.float64)
        total += part.sum(axis=0)
        squares += (part**2).sum(axis=0)
    return total / len(split), squares / len(split)
