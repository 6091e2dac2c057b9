"""One picture of any kind -> uint8 [H, W, C]: upright, 8 bits, resized, centre-cropped."""

import logging
import struct
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

GREY_MODES = {"1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N"}
UNREADABLE = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)
SIDE_STEP, SIDE_MIN, SIDE_MAX = 32, 32, 224

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Header:
    """What a file says of its picture before any pixel is decoded."""

    height: int
    width: int
    grey: bool


def header(file: Path | IO[bytes]) -> Header:
    """Read size and kind of a picture; raises one of `UNREADABLE`."""
    with Image.open(file) as image:
        return Header(image.height, image.width, image.mode in GREY_MODES)


def decode(file: Path | IO[bytes], size: tuple[int, int], channels: int) -> npt.NDArray[np.uint8]:
    """Decode a picture to `size` = (H, W) and 1 or 3 channels; raises one of `UNREADABLE`.

    A rotation noted in EXIF is applied. What is transparent becomes white.
    """
    with Image.open(file) as image:
        # A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size; keep at least twice what is needed.
        image.draft(None, (2 * max(size), 2 * max(size)))
        return fit(ImageOps.exif_transpose(image), size, channels)


def fit(image: Image.Image, size: tuple[int, int], channels: int) -> npt.NDArray[np.uint8]:
    """Bring an upright picture to `size` = (H, W): scaled until it covers it, then centre-cropped.

    >>> fit(Image.new("RGB", (6, 4), "white"), (2, 2), 1).tolist()
    [[[255], [255]], [[255], [255]]]
    """
    flat = _flatten(image).convert("L" if channels == 1 else "RGB")
    height, width = size
    if (flat.height, flat.width) != size:
        flat = ImageOps.fit(flat, (width, height), Image.Resampling.BILINEAR)
    return np.asarray(flat, np.uint8).reshape(height, width, channels)


def _flatten(image: Image.Image) -> Image.Image:
    """Drop what 8-bit grey or RGB cannot hold: 16 bits (scaled), transparency (on white)."""
    if image.mode.startswith("I"):
        values = np.asarray(image, np.float64).clip(0, 65535) / 257
        return Image.fromarray(values.round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image


def own_size(headers: Collection[Header], source: str) -> tuple[int, int]:
    """Choose (H, W) for pictures that come without a wanted size.

    Their own size if all have the same and it is square; otherwise a square whose side is the
    median shorter side, rounded down to a multiple of 32, within 32..224 pixels.

    >>> own_size([Header(100, 200, False), Header(120, 90, False)], "folder:pets")
    (64, 64)
    """
    sizes = {(one.height, one.width) for one in headers}
    if len(sizes) == 1:
        height, width = next(iter(sizes))
        if height == width:
            return height, width
    shorter = float(np.median([min(one.height, one.width) for one in headers]))
    side = int(shorter // SIDE_STEP * SIDE_STEP)
    side = min(max(side, SIDE_MIN), SIDE_MAX)
    log.info("%s: images differ in size or are not square, using %dx%d", source, side, side)
    return side, side
