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

Channels = Literal[1, 3]
Fit = Literal["crop", "pad", "stretch"]
Levels = tuple[float, float]  # the values that become 0 and 255

GREY_MODES = {"1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"}
DEEP_MODES = ("I", "F")  # first letter of the modes that hold more than 8 bits
DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras and scanners use
ANIMATED = ("GIF", "WEBP", "PNG", "TIFF", "AVIF")  # formats of several frames or pages
WITH_EXIF = ("JPEG", "MPO", "WEBP", "TIFF", "AVIF")  # a PNG tells it only once it is decoded
OTHER_BYTE = {"B": "L", "L": "B", "N": "B"}  # by the last letter of a 16-bit raw mode
UNREADABLE = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, AttributeError, OverflowError),
    *(IndexError, KeyError, struct.error, zlib.error, Image.DecompressionBombError),
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
    bilinear without smoothing, exactly as `keras.utils.image_dataset_from_directory` does by
    default. "crop" and "pad" average all pixels that become one.

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
    with Image.open(file) as image:
        raw, kind = _raw_mode(image), image.format or ""
        return Header(
            image.height,
            image.width,
            grey=image.mode in GREY_MODES or raw.startswith("LA"),
            deep=_is_deep(image.mode, raw),
            frames=int(getattr(image, "n_frames", 1)) if kind in ANIMATED else 1,
            mode=image.mode,
            broken_exif=kind in WITH_EXIF and _orientation(image) is None,
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
            `levels_of` says for this picture alone.
    """
    with Image.open(file) as image:
        raw = _raw_mode(image)
        if how != "stretch" and not _is_deep(image.mode, raw):
            # A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size; keep at least twice what is
            # needed. Keras, which "stretch" follows, decodes at full size.
            image.draft(None, (2 * max(size), 2 * max(size)))
        turn = TURNS.get(_orientation(image) or 1)
        flat = _eight_bits(file, image, raw, levels)
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


def extremes(file: Path | IO[bytes]) -> tuple[float, float]:
    """The smallest and the largest value of a picture of more than 8 bits."""
    with Image.open(file) as image:
        values = _values(file, image, _raw_mode(image))
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


def size_notes(headers: Collection[Header], size: tuple[int, int]) -> list[str]:
    """What a user has to know of a size that `own_size` chose: nothing, or one line."""
    sizes = {(one.height, one.width) for one in headers}
    if sizes == {size}:
        return []
    heights, widths = zip(*sizes, strict=True)
    what = "are not square" if len(sizes) == 1 else "differ in size"
    low, high = f"{min(heights)}x{min(widths)}", f"{max(heights)}x{max(widths)}"
    return [f"images {what} ({low} to {high}), using {size[0]}x{size[1]}; see data.image_size"]


def converted(channels: int, count: int | None = None) -> str:
    """The note on pictures that get another number of channels than they have."""
    which = "the images" if count is None else f"{count} pictures"
    if channels == 1:
        return f"{which} are in colour and become grey (channels 1)"
    return f"{which} are grey and become RGB, the same value three times (channels 3)"


def scaling(count: int, levels: Levels) -> str:
    """The note on pictures of more than 8 bits."""
    black, white = levels
    return (
        f"{count} images have more than 8 bits per value: {black:g} becomes 0, {white:g} becomes "
        "255, by the range that they use"
    )


def _orientation(image: Image.Image) -> int | None:
    """What EXIF says of the rotation, 1 for none; None where EXIF cannot be read.

    `ImageOps.exif_transpose` would also write all other tags anew, and fail at one that is broken.
    """
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except UNREADABLE:
        return None
    return found if isinstance(found, int) and found in range(9) else None


def _raw_mode(image: Image.Image) -> str:
    """How the pixels lie in an opened file, in Pillow's words: "RGB;16B"; "" where it is unknown.

    Pillow opens 16-bit colours in an 8-bit mode; only this tells that there is more.
    """
    tiles = getattr(image, "tile", None)
    args = tiles[0][3] if tiles else ""
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _is_deep(mode: str, raw: str) -> bool:
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


def _eight_bits(
    file: Path | IO[bytes], image: Image.Image, raw: str, levels: Levels | None
) -> Image.Image:
    """Scale a picture of more than 8 bits; any other stays as it is."""
    if not _is_deep(image.mode, raw):
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
