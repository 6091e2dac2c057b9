"""`npz:PATH`: a NumPy archive with x_train, y_train, x_test, y_test and optional class_names.

Images [N, H, W] or [N, H, W, C], C 1 or 3: whole numbers in 0..255, or floats in 0..1 or 0..255.
Labels 0..K-1: [N] or [N, 1] of a whole-number type, or one-hot [N, K].
"""

import hashlib
import itertools
import logging
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.data import pictures
from pipeline.data.cache import Contents, Source
from pipeline.data.pictures import Form
from pipeline.errors import DataError

FORM = "npz:PATH"
REQUIRED = ("x_train", "y_train", "x_test", "y_test")
NAMES = "class_names"

Array = npt.NDArray[Any]
log = logging.getLogger("flopsmith")


def find(rest: str, form: Form, data_dir: str | None) -> Source:
    """Hash the archive `rest`, without reading its arrays."""
    path = Path(rest).expanduser()
    if not path.is_file():
        raise DataError(
            f"there is no such file. Received: source=npz:{rest}. "
            f"Give a .npz file with {', '.join(REQUIRED)}"
        )
    if not zipfile.is_zipfile(path):
        raise DataError(
            f"the file is not a NumPy archive. Received: source=npz:{rest}. "
            "Write it with numpy.savez"
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Source(("npz", digest), lambda: contents(_read(path), str(path), form))


def contents(arrays: Mapping[str, Array], path: str, form: Form) -> Contents:
    """Check every array, and settle classes and size.

    Args:
        arrays: `x_train`, `y_train`, perhaps `x_test` with `y_test`, perhaps `class_names`.
        path: What errors call the file.
        form: What is wanted of the images; None in it: as they are.

    Raises:
        DataError: An array does not hold what its name says.
    """
    parts = ("train", "test") if "x_test" in arrays else ("train",)
    found = [_images(arrays[f"x_{part}"], f"x_{part}", path) for part in parts]
    x_train, factor = found[0]
    if any(x.shape[1:] != x_train.shape[1:] or other != factor for x, other in found):
        raise DataError(
            "x_train and x_test differ in shape or range. Received: "
            f"x_train={_about(arrays['x_train'])}, x_test={_about(arrays['x_test'])}, file={path}. "
            "Store both alike"
        )
    labels = [_labels(arrays[f"y_{part}"], f"y_{part}", path) for part in parts]
    _check_lengths([len(x) for x, _ in found], labels, path)
    class_names = _class_names(arrays.get(NAMES), labels, path)
    own = (int(x_train.shape[1]), int(x_train.shape[2]))
    size = form.size or own
    channels = form.channels or int(x_train.shape[3])

    def decoded(rows: Sequence[int] | None) -> Iterator[npt.NDArray[np.uint8]]:
        wanted = None if rows is None else set(rows)
        for row, image in enumerate(itertools.chain.from_iterable(x for x, _ in found)):
            if wanted is None or row in wanted:
                pixel = np.rint(image * factor).astype(np.uint8)
                picture = Image.fromarray(pixel[..., 0] if pixel.shape[2] == 1 else pixel)
                yield pictures.fit(picture, size, channels, form.fit)

    first, count = len(labels[0]), sum(map(len, labels))
    spans = {"train": (0, first), "test": (first, count)} if len(parts) > 1 else {}
    return Contents(class_names, np.concatenate(labels), (*size, channels), spans, decoded)


def _check_lengths(images: list[int], labels: list[Array], path: str) -> None:
    for count, found, part in zip(images, labels, ("train", "test"), strict=False):
        if count != len(found):
            raise DataError(
                f"x_{part} and y_{part} differ in length. Received: x_{part}={count}, "
                f"y_{part}={len(found)}, file={path}. Give every image one label"
            )


def _read(path: Path) -> dict[str, Array]:
    """Load the arrays that count, without running any code that the file may carry."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in REQUIRED if key not in archive.files]
            if missing:
                raise DataError(
                    f"the archive lacks {', '.join(missing)}. Received: file={path}, "
                    f"arrays={sorted(archive.files)}. Save it with {', '.join(REQUIRED)}"
                )
            other = sorted(set(archive.files) - {*REQUIRED, NAMES})
            if other:
                log.info("%s: ignored the arrays %s", path, ", ".join(other))
            keys = [*REQUIRED, *(key for key in (NAMES,) if key in archive.files)]
            return {key: archive[key] for key in keys}
    except DataError:
        raise
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"the archive cannot be read: {' '.join(str(error).split())}. Received: file={path}. "
            "Write it anew with numpy.savez, from arrays of numbers"
        ) from error


def _images(array: Array, key: str, path: str) -> tuple[Array, float]:
    """Return images as [N, H, W, C], and the factor that brings them to 0..255."""
    images = array[..., None] if array.ndim == 3 else array
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise DataError(
            f"{key} does not hold images. Received: {key}={_about(array)}, file={path}. "
            "Give it the shape [N, H, W] or [N, H, W, C] with 1 or 3 channels"
        )
    if images.dtype == np.uint8:
        return images, 1.0
    known = np.issubdtype(images.dtype, np.integer) or np.issubdtype(images.dtype, np.floating)
    low, high = (images.min(), images.max()) if known else (0, 0)
    if not known or not (low >= 0 and high <= 255):  # the second form is true for NaN
        raise DataError(
            f"{key} holds values that are no pixels. Received: {key}={_about(array)}, "
            f"smallest={low}, largest={high}, file={path}. Give whole numbers in 0..255, or floats "
            "in 0..1"
        )
    fraction = np.issubdtype(images.dtype, np.floating) and high <= 1
    return images, 255.0 if fraction else 1.0


def _labels(array: Array, key: str, path: str) -> npt.NDArray[np.int32]:
    """Return labels as int32 [N]."""
    labels = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if labels.ndim == 2 and _is_one_hot(labels):
        labels = labels.argmax(axis=1)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{key} does not hold labels. Received: {key}={_about(array)}, file={path}. "
            "Give whole numbers of the shape [N] or [N, 1], or one-hot rows [N, K]"
        )
    if labels.size and not 0 <= labels.min() <= labels.max() < 2**31:
        raise DataError(
            f"{key} holds a label out of range. Received: smallest={labels.min()}, "
            f"largest={labels.max()}, file={path}. Number the classes 0..K-1"
        )
    return labels.astype(np.int32)


def _is_one_hot(array: Array) -> bool:
    if array.dtype.kind not in "biuf":
        return False
    return bool(np.isin(array, (0, 1)).all() and (array.sum(axis=1) == 1).all())


def _class_names(given: Array | None, labels: list[Array], path: str) -> tuple[str, ...]:
    """Name the classes 0..K-1 that y_train holds, and check that y_test holds no other."""
    train, *rest = (set(np.unique(part).tolist()) for part in labels)
    test = rest[0] if rest else set()
    count = max(train) + 1
    if given is None:
        names = tuple(str(label) for label in range(count))
    else:
        names = tuple(_text(name) for name in given.reshape(-1).tolist())
    missing = sorted(set(range(max(count, len(names)))) - train)
    if missing or len(names) < count:
        raise DataError(
            f"the labels of y_train are not 0..K-1. Received: classes={len(names)}, "
            f"largest={count - 1}, missing={missing[:10]}, file={path}. Number the classes without "
            f"gaps, and give {NAMES} one name each"
        )
    if test - train:
        raise DataError(
            f"y_test holds labels that y_train does not. Received: labels={sorted(test - train)}, "
            f"file={path}. Add such images to x_train, or remove them from x_test"
        )
    return names


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _about(array: Array) -> str:
    return f"{array.dtype}{list(array.shape)}"
