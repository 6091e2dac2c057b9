"""Heat over an image, as a picture."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

SHARE = 0.55  # of a hot pixel that is colour
CLIPPED = 99.0  # percentile of the heat that is drawn as the hottest


def enlarged(heat: Any, size: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """A map `[h, w]` at the size `(H, W)`, bilinear."""
    small = Image.fromarray(np.asarray(heat, np.float32))
    return np.asarray(small.resize((size[1], size[0]), Image.Resampling.BILINEAR), np.float32)


def overlay(image: Any, heat: Any) -> npt.NDArray[np.uint8]:
    """The image in grey with heat in colour, `[H, W, 3]`: the hotter, the more.

    Heat is scaled to its own 99th percentile; a map without heat leaves the image grey.
    """
    from matplotlib import colormaps

    pixels = np.asarray(image, np.float32)
    grey = pixels.mean(axis=-1, keepdims=True).repeat(3, axis=-1)
    most = float(np.percentile(heat, CLIPPED)) or float(np.max(heat))
    if most <= 0:
        return np.asarray(np.round(grey), np.uint8)
    strength = np.clip(np.asarray(heat, np.float32) / most, 0, 1)
    colour = 255 * colormaps["inferno"](strength)[..., :3]
    share = SHARE * strength[..., None] + (1 - SHARE) * (strength[..., None] > 0.5)
    mixed = (1 - share) * grey + share * colour
    return np.asarray(np.clip(np.round(mixed), 0, 255), np.uint8)
