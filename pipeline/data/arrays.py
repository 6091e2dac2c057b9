"""Arrays of images and labels, in the forms that people keep them in -> what a source holds.

Images are [N, H, W], [N, H, W, C] or [N, C, H, W] with 1 or 3 channels: whole numbers in 0..255 or
of more bits, true and false, or floats in 0..255, 0..1 or -1..1. `data.labels` reads the labels.
Whatever is converted is in the notes.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.data import depth, inspection, pictures
from pipeline.data.cache import Contents
from pipeline.data.depth import Levels
from pipeline.data.labels import about, numbered
from pipeline.data.pictures import Form
from pipeline.errors import DataError

PARTS = ("train", "test", "val")
NAMES = "class_names"
CHANNELS = (1, 3)

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class _Scale:
    """How values become 0..255: by a factor after an offset, or between two levels."""

    factor: float = 1.0
    offset: float = 0.0
    levels: Levels | None = None
    note: str = ""

    def pixels(self, image: Array) -> npt.NDArray[np.uint8]:
        """Values [H, W, C] as pixels."""
        if self.levels is not None:
            return depth.scaled(image, self.levels)
        moved = image + self.offset if self.offset else image
        return np.rint(moved * self.factor).astype(np.uint8)


BYTES = _Scale()
FRACTIONS = _Scale(255.0, note="floats in 0..1, multiplied by 255")
SIGNED = _Scale(127.5, 1.0, note="floats in -1..1, brought to 0..255")
BINARY = _Scale(255.0, note="only 0 and 1, which become 0 and 255")
INT8 = _Scale(1.0, 128.0, note="int8 from -128 to 127, moved by 128")
DEEP = _Scale(note="more than 8 bits")  # the levels follow once all parts are known


def read(arrays: Mapping[str, Any], path: str, form: Form) -> Contents:
    """Check every array, and settle classes and size.

    Args:
        arrays: `x_train`, `y_train`, perhaps `x_test` with `y_test` and `x_val` with `y_val`,
            perhaps `class_names`.
        path: What errors call the file.
        form: What is wanted of the images; None in it: as they are.

    Raises:
        DataError: An array does not hold what its name says.
    """
    notes: list[str] = []
    parts = [part for part in PARTS if f"x_{part}" in arrays]
    found = [_images(arrays[f"x_{part}"], f"x_{part}", path, notes) for part in parts]
    scale = _scale(parts, found, path, notes)
    given = {f"y_{part}": np.asarray(arrays[f"y_{part}"]) for part in parts}
    labels, class_names = numbered(given, arrays.get(NAMES), path, notes)
    _check_lengths([len(x) for x in found], labels, parts, path)
    own = (int(found[0].shape[1]), int(found[0].shape[2]))
    size = form.size or own
    channels = form.channels or int(found[0].shape[3])
    if channels != found[0].shape[3]:
        notes.append(inspection.converted(channels))

    def images(rows: Sequence[int] | None) -> Iterator[npt.NDArray[np.uint8]]:
        wanted = None if rows is None else set(rows)
        for row, image in enumerate(itertools.chain.from_iterable(found)):
            if wanted is None or row in wanted:
                pixels = scale.pixels(image)
                picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
                yield pictures.fit(picture, size, channels, form.fit)

    ends = list(itertools.accumulate(map(len, labels)))
    spans = dict(zip(parts, zip([0, *ends], ends, strict=False), strict=True))
    return Contents(
        class_names,
        np.concatenate(labels),
        (*size, channels),
        spans if len(parts) > 1 else {},
        images,
        tuple(notes),
        scale.levels,
    )


def _check_lengths(images: list[int], labels: Sequence[Array], parts: list[str], path: str) -> None:
    for count, found, part in zip(images, labels, parts, strict=True):
        if count != len(found):
            raise DataError(
                f"x_{part} and y_{part} differ in length. Received: x_{part}={count}, "
                f"y_{part}={len(found)}, file={path}. Give every image one label"
            )


def _images(given: Any, key: str, path: str, notes: list[str]) -> Array:
    """Return images as [N, H, W, C]."""
    array = _stacked(np.asarray(given), key, path, notes)
    images = array[..., None] if array.ndim == 3 else array
    if images.ndim == 4 and images.shape[3] not in CHANNELS and images.shape[1] in CHANNELS:
        images = np.moveaxis(images, 1, 3)
        notes.append(f"{key}: channels come first, {list(array.shape)}; they are moved to the end")
    if images.ndim != 4 or images.shape[3] not in CHANNELS or 0 in images.shape:
        few = {images.shape[1], images.shape[3]} & {2, 4} if images.ndim == 4 else set()
        advice = {4: "Drop the alpha channel, as in x[..., :3]. ", 2: "Keep one of two channels. "}
        raise DataError(
            f"{key} does not hold images. Received: {key}={about(array)}, file={path}. "
            + (advice[few.pop()] if len(few) == 1 else "")
            + "Give it the shape [N, H, W], [N, H, W, C] or [N, C, H, W] with 1 or 3 channels"
        )
    return images


def _stacked(array: Array, key: str, path: str, notes: list[str]) -> Array:
    """An array of arrays of one shape as one array."""
    if array.dtype != object or not array.size:
        return array
    try:
        whole = np.stack([np.asarray(one) for one in array.ravel()])
        whole = whole.reshape(array.shape + whole.shape[1:])
    except ValueError as error:
        raise DataError(
            f"{key} does not hold images: they differ in shape. Received: {key}={about(array)}, "
            f"file={path}. Bring them to one size, or use folder:PATH"
        ) from error
    notes.append(f"{key}: an array of {len(array)} arrays, put together to one")
    return whole


def _scale(parts: list[str], found: list[Array], path: str, notes: list[str]) -> _Scale:
    """Decide how the values of all parts become 0..255."""
    scales = [_scale_of(x, f"x_{part}", path) for part, x in zip(parts, found, strict=True)]
    first = found[0]
    known = [one for one in scales if one is not None]  # None: nothing but zeros
    if DEEP in known and len({x.dtype for x in found}) == 1:
        known = [DEEP]
    if any(x.shape[1:] != first.shape[1:] for x in found) or len(set(known)) > 1:
        received = ", ".join(
            f"x_{part}={about(x)} of {x.min()}..{x.max()}"
            for part, x in zip(parts, found, strict=True)
        )
        raise DataError(
            f"{' and '.join(f'x_{part}' for part in parts)} differ in shape or range. Received: "
            f"{received}, file={path}. Store all alike"
        )
    scale = known[0] if known else BYTES
    if scale is DEEP:
        levels = depth.levels_of(0, max(float(x.max()) for x in found))
        notes.append(inspection.scaling(sum(map(len, found)), levels))
        return _Scale(levels=levels)
    if scale.note:
        notes.append(f"the images hold {scale.note}")
    return scale


def _scale_of(images: Array, key: str, path: str) -> _Scale | None:
    """How the values of one part become 0..255; None if all are 0."""
    kind = images.dtype.kind
    low, high = (images.min(), images.max()) if kind in "biuf" else (0, 0)
    whole = kind in "iu"
    if kind == "b" or (whole and low >= 0 and high == 1):
        return BINARY
    if images.dtype == np.int8 and low < 0:
        return INT8
    if kind == "f" and -1 <= low < -0.5 and high <= 1:
        return SIGNED
    if whole and low >= 0 and high > 255:
        return DEEP
    if kind not in "iuf" or not (low >= 0 and high <= 255):  # the second form is true for NaN
        raise DataError(
            f"{key} holds values that are no pixels. Received: {key}={about(images)}, "
            f"smallest={low}, largest={high}, file={path}. Give whole numbers in 0..255, or floats "
            "in 0..1 or -1..1, without standardising them"
        )
    if high == 0:
        return None
    return FRACTIONS if kind == "f" and high <= 1 else BYTES
