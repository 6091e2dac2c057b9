"""One picture of any kind -> uint8 [H, W, C]: upright, 8 bits, resized in one of three ways."""

import struct
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from pipeline.data import depth, heif
from pipeline.data.depth import Levels

Channels = Literal[1, 3]
Fit = Literal["crop", "pad", "stretch"]

GREY_MODES = {"1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"}
ANIMATED = ("GIF", "WEBP", "PNG", "TIFF", "AVIF", "HEIF")  # formats of several frames or pages
WITH_EXIF = ("JPEG", "MPO", "WEBP", "AVIF", "HEIF")  # a PNG tells it only once it is decoded
UNREADABLE = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, AttributeError, OverflowError),
    *(IndexError, KeyError, RuntimeError, struct.error, zlib.error),
    Image.DecompressionBombError,
)
ORIENTATION = 0x0112  # the EXIF tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDE_STEP, SIDE_MIN, SIDE_MAX = 32, 32, 224


@dataclass(frozen=True)
class Form:
    """The form of the images that is wanted; None leaves the choice to the source.

    `fit` says what becomes of a picture of other proportions. "crop" scales it until it covers the
    image, and cuts off what is too much on two sides. "pad" scales it until it is inside, and fills
    the rest with black, as `pad_to_aspect_ratio` of Keras does. "stretch" changes the proportions:
    bilinear without smoothing, as `keras.utils.image_dataset_from_directory` does by default: equal
    to its result for a PNG, and on average 1 of 255 off for a JPEG, which TensorFlow decodes with
    less care. "crop" and "pad" average all pixels that become one.

    `levels` are the values that become black and white in pictures of more than 8 bits.
    """

    size: tuple[int, int] | None = None  # (H, W)
    channels: Channels | None = None
    fit: Fit = "crop"
    levels: Levels | None = None


@dataclass(frozen=True)
class Header:
    """What a file says of its picture before any pixel is decoded."""

    height: int
    width: int
    grey: bool
    deep: bool = False  # more than 8 bits per value
    frames: int = 1
    mode: str = ""
    broken_exif: bool = False


def header(file: Path | IO[bytes]) -> Header:
    """Read size and kind of a picture; raises one of `UNREADABLE`."""
    with heif.opened(file) as image:
        raw, kind = depth.raw_mode(image), image.format or ""
        return Header(
            image.height,
            image.width,
            grey=image.mode in GREY_MODES or (raw.startswith("LA") and image.mode != "LAB"),
            deep=depth.is_deep(image.mode, raw),
            frames=int(getattr(image, "n_frames", 1)) if kind in ANIMATED else 1,
            mode=image.mode,
            broken_exif=kind in WITH_EXIF and _is_exif_broken(image),
        )


def decode(
    file: Path | IO[bytes],
    size: tuple[int, int],
    channels: int,
    how: Fit = "crop",
    levels: Levels | None = None,
) -> npt.NDArray[np.uint8]:
    """Decode a picture to `size` = (H, W) and 1 or 3 channels; raises one of `UNREADABLE`.

    A rotation noted in EXIF is applied. What is transparent becomes white. Of several frames or
    pages the first one counts.

    Args:
        file: The picture, in any format that Pillow reads.
        size: (H, W) of the result.
        channels: Of the result, 1 or 3.
        how: How the picture is fitted, as `Form.fit` says.
        levels: The values that become black and white in a picture of more than 8 bits; None: as
            `depth.levels_of` says for this picture alone.
    """
    with heif.opened(file) as image:
        raw = depth.raw_mode(image)
        if how != "stretch" and not depth.is_deep(image.mode, raw):
            # A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size; keep at least twice what is
            # needed. Keras, which "stretch" follows, decodes at full size.
            image.draft(None, (2 * max(size), 2 * max(size)))
        turn = TURNS.get(_orientation(image) or 1)
        flat = depth.eight_bits(file, image, raw, levels)
        return fit(flat if turn is None else flat.transpose(turn), size, channels, how)


def fit(
    image: Image.Image, size: tuple[int, int], channels: int, how: Fit = "crop"
) -> npt.NDArray[np.uint8]:
    """Bring an upright 8-bit picture to `size` = (H, W), in one of the ways of `Form.fit`.

    >>> fit(Image.new("RGB", (6, 4), "white"), (2, 2), 1).tolist()
    [[[255], [255]], [[255], [255]]]
    """
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    flat = image.convert("L" if channels == 1 else "RGB")
    height, width = size
    if (flat.height, flat.width) == size:
        pixels = np.asarray(flat, np.uint8)
    elif how == "stretch":
        pixels = _stretched(np.asarray(flat, np.uint8), size)
    elif how == "pad":
        pixels = np.asarray(_padded(flat, size), np.uint8)
    else:
        fitted = ImageOps.fit(flat, (width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(fitted, np.uint8)
    return pixels.reshape(height, width, channels)


def _padded(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale a picture until it is inside `size` = (H, W), and put it into the centre of black."""
    height, width = size
    scale = min(width / image.width, height / image.height)
    inner = [max(1, int(side * scale + 0.5)) for side in image.size]
    canvas = Image.new(image.mode, (width, height))
    scaled = image.resize((inner[0], inner[1]), Image.Resampling.BILINEAR)
    canvas.paste(scaled, ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return canvas


def _stretched(picture: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Resize [H, W] or [H, W, C] as `tf.image.resize` does: from the four nearest pixels alone."""
    (top, bottom, down), (left, right, along) = (
        _neighbours(*sides) for sides in zip(picture.shape, size, strict=False)
    )
    more = (1,) * (picture.ndim - 2)
    down, along = down.reshape(-1, 1, *more), along.reshape(1, -1, *more)
    rows = picture[top].astype(np.float64), picture[bottom].astype(np.float64)
    upper, lower = (row[:, left] + (row[:, right] - row[:, left]) * along for row in rows)
    pixels: npt.NDArray[np.uint8] = np.rint(upper + (lower - upper) * down).astype(np.uint8)
    return pixels


def _neighbours(side: int, wanted: int) -> tuple[Any, Any, Any]:
    """Of `wanted` new pixels along one side: the two old ones around each, and how far between."""
    places = (np.arange(wanted) + 0.5) * (side / wanted) - 0.5
    before = np.floor(places)
    first = np.clip(before, 0, side - 1).astype(np.int64)
    second = np.clip(before + 1, 0, side - 1).astype(np.int64)
    return first, second, places - before


def own_size(headers: Collection[Header]) -> tuple[int, int]:
    """Choose (H, W) for pictures that come without a wanted size.

    Their own size if all have the same and it is square; otherwise a square whose side is the
    median shorter side, rounded down to a multiple of 32, within 32..224 pixels.

    >>> own_size([Header(100, 200, False), Header(120, 90, False)])
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
    return side, side


def _orientation(image: Image.Image) -> int | None:
    """What EXIF says of the rotation, 1 for none; None where EXIF cannot be read.

    `ImageOps.exif_transpose` would also write all other tags anew, and fail at one that is broken.
    """
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except UNREADABLE:
        return None
    return found if isinstance(found, int) and found in range(9) else None


def _is_exif_broken(image: Image.Image) -> bool:
    exif = Image.Exif()  # anew: what a format plugin has read once, it hides even if it was broken
    try:
        exif.load(image.info.get("exif", b""))
    except UNREADABLE:
        return True
    return _orientation(image) is None
