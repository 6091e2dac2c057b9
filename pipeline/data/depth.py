"""Pictures of more than 8 bits per value: what they hold, and how it becomes 0..255."""

from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.data import heif

Levels = tuple[float, float]  # the values that become 0 and 255

DEEP_MODES = ("I", "F")  # first letter of the modes that hold more than 8 bits
DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras and scanners use
OTHER_BYTE = {"B": "L", "L": "B", "N": "B"}  # by the last letter of a 16-bit raw mode


def extremes(file: Path | IO[bytes]) -> tuple[float, float]:
    """The smallest and the largest value of a picture of more than 8 bits."""
    with heif.opened(file) as image:
        values = _values(file, image, raw_mode(image))
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("some of its values are no numbers (NaN or infinite)")
    return low, high


def levels_of(low: float, high: float) -> Levels:
    """The values that become black and white, from the extremes of all that is to be compared.

    Black is 0 and white the largest value of the smallest usual number of bits (8, 10, 12, 14 or
    16) that holds all of them, because a picture need not use its whole range. Values up to 1 are
    fractions. Where values are negative, or exceed 16 bits, the extremes themselves are black and
    white.

    >>> levels_of(3, 4000), levels_of(0.1, 0.9), levels_of(-1000, 3000)
    ((0.0, 4095.0), (0.0, 1.0), (-1000.0, 3000.0))
    """
    if low < 0:
        return float(low), float(high)
    if high <= 1:
        return 0.0, 1.0
    whites = (2**bits - 1 for bits in DEPTHS)
    return 0.0, float(next((white for white in whites if high <= white), high))


def scaled(values: npt.NDArray[Any], levels: Levels) -> npt.NDArray[np.uint8]:
    """Bring values to 0..255; what is beyond the levels becomes black or white."""
    black, white = levels
    share = (values.astype(np.float64) - black) / ((white - black) or 1.0)
    return np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)


def raw_mode(image: Image.Image) -> str:
    """How the pixels lie in an opened file, in Pillow's words: "RGB;16B"; "" where it is unknown.

    Pillow opens 16-bit colours in an 8-bit mode; only this tells that there is more.
    """
    tiles = getattr(image, "tile", None)
    args = tiles[0][3] if tiles else ""
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def is_deep(mode: str, raw: str) -> bool:
    """Whether a picture holds more than 8 bits per value; `raw` is from `raw_mode`."""
    return mode.startswith(DEEP_MODES) or (mode in ("RGB", "RGBA") and ";16" in raw)


def _values(file: Path | IO[bytes], image: Image.Image, raw: str) -> npt.NDArray[Any]:
    """The values of a picture of more than 8 bits: [H, W], or [H, W, 3] without transparency.

    Of a 16-bit colour, Pillow keeps one byte. The other one comes from reading the file again as if
    its bytes were swapped.
    """
    if image.mode.startswith(DEEP_MODES):
        return np.asarray(image)
    first = np.asarray(image, np.uint16)[..., :3]
    if raw.startswith("LA"):  # there is no such way for these; the first byte will do
        return first * np.uint16(257)
    if not isinstance(file, Path):
        file.seek(0)
    with Image.open(file) as opened:
        again: Any = opened
        swapped = raw[:-1] + OTHER_BYTE[raw[-1]]
        again.tile = [_with_raw_mode(tile, swapped) for tile in again.tile]
        return first * np.uint16(256) + np.asarray(again, np.uint16)[..., :3]


def _with_raw_mode(tile: Any, raw: str) -> Any:
    args = (raw, *tile[3][1:]) if isinstance(tile[3], tuple) else raw
    return tile._replace(args=args)


def eight_bits(
    file: Path | IO[bytes], image: Image.Image, raw: str, levels: Levels | None
) -> Image.Image:
    """Scale a picture of more than 8 bits; any other stays as it is."""
    if not is_deep(image.mode, raw):
        return image
    if image.mode in ("RGB", "RGBA") and levels == (0, 65535):
        return image  # what Pillow keeps are the upper 8 bits
    values = _values(file, image, raw)
    if levels is None:
        levels = levels_of(float(values.min()), float(values.max()))
    flat = Image.fromarray(scaled(values, levels))
    if image.mode == "RGBA":
        flat.putalpha(image.getchannel("A"))
    return flat
