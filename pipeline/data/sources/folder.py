"""`folder:PATH`: one sub-folder of pictures per class, or train/ and test/ folders of those.

Upright as EXIF says; what is transparent becomes white; one channel only if every picture is grey.
`data.layout` says which files count, `data.pictures` what becomes of them.
"""

import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import UnidentifiedImageError

from pipeline.data import depth, inspection, layout, pictures
from pipeline.data.cache import Contents, Source, Spans
from pipeline.data.depth import Levels
from pipeline.data.layout import Picture
from pipeline.data.pictures import Form, Header
from pipeline.errors import DataError

FORM = "folder:PATH"
CHUNK = 256  # pictures decoded at once, hence in memory
SHOWN = 5  # files that an error names

Failures = list[tuple[Path, BaseException]]


def find(rest: str, form: Form, data_dir: str | None) -> Source:
    """List the pictures under the folder `rest`, without opening them."""
    root = Path(rest).expanduser()
    if not root.is_dir():
        wrong = "is not a folder" if root.exists() else "does not exist"
        raise DataError(
            f"the image folder {wrong}. Received: source=folder:{rest}. "
            "Give a folder with one sub-folder of images per class"
        )
    found, notes = layout.read(root, f"folder:{rest}")
    about = []
    for picture in found:
        stat = picture.path.stat()
        about.append([str(picture.path.relative_to(root)), stat.st_size, stat.st_mtime_ns])
    # The place is part of it: two folders of equal names, sizes and times may still differ.
    identity = ("folder", str(root.resolve()), about)
    return Source(identity, lambda: _open(found, f"folder:{rest}", form), tuple(notes))


def _open(found: list[Picture], source: str, form: Form) -> Contents:
    """Read the headers of all pictures, and settle classes, channels and size."""
    spans = _spans([picture.part for picture in found])
    class_names = _class_names(found, spans, source)
    number = {name: label for label, name in enumerate(class_names)}
    headers = _headers(found)
    size = form.size or pictures.own_size(headers)
    channels = form.channels or (1 if all(one.grey for one in headers) else 3)
    notes = inspection.kinds(headers, channels)
    notes += [] if form.size else inspection.sizes(headers, size)
    deep = [one.path for one, about in zip(found, headers, strict=True) if about.deep]
    levels = form.levels
    if deep and levels is None:
        levels = _levels(deep)
        notes.append(inspection.scaling(len(deep), levels))

    def images(rows: Sequence[int] | None) -> Iterator[npt.NDArray[np.uint8]]:
        wanted = found if rows is None else [found[row] for row in rows]

        def decode(path: Path) -> npt.NDArray[np.uint8]:
            return pictures.decode(path, size, channels, form.fit, levels)

        yield from _each(decode, [picture.path for picture in wanted])

    labels = np.array([number[picture.class_name] for picture in found], np.int32)
    return Contents(class_names, labels, (*size, channels), spans, images, tuple(notes), levels)


def _class_names(found: list[Picture], spans: Spans, source: str) -> tuple[str, ...]:
    """The classes of the train part, sorted; no other part may have more."""
    start, stop = spans.get("train", (0, len(found)))
    class_names = sorted({picture.class_name for picture in found[start:stop]})
    for picture in found:
        if picture.class_name not in class_names:
            raise DataError(
                f"class {picture.class_name!r} of the {picture.part} part is not in the train "
                f"part. Received: source={source}, train classes={class_names}. Add it there, or "
                "remove it here"
            )
    return tuple(class_names)


def _spans(parts: list[str]) -> Spans:
    """Return first row and row after the last of every part; pictures come part by part."""
    return {
        part: (parts.index(part), parts.index(part) + parts.count(part))
        for part in dict.fromkeys(parts)
        if part
    }


def _headers(found: list[Picture]) -> list[Header]:
    """Read all headers; whatever is wrong with one of them is in `inspection.kinds`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        return list(_each(pictures.header, [picture.path for picture in found]))


def _levels(deep: list[Path]) -> Levels:
    """What becomes black and white, by the range that all pictures of more than 8 bits use."""
    found = list(_each(depth.extremes, deep))
    return depth.levels_of(min(low for low, _ in found), max(high for _, high in found))


def _each(read: Any, paths: list[Path]) -> Iterator[Any]:
    """Read every file, a few at once; if some cannot be read, name them all at the end."""
    failures: Failures = []

    def tried(path: Path) -> Any:
        try:
            return read(path)
        except pictures.UNREADABLE as error:
            return path, error

    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        for first in range(0, len(paths), CHUNK):
            for made in pool.map(tried, paths[first : first + CHUNK]):
                if isinstance(made, tuple) and isinstance(made[1], BaseException):
                    failures.append(made)
                elif not failures:
                    yield made
    if failures:
        raise _unreadable(failures)


def _unreadable(failures: Failures) -> DataError:
    if len(failures) == 1:
        path, error = failures[0]
        return DataError(
            f"an image cannot be read: {_why(path, error)}. Received: file={path}. "
            "Repair or remove it"
        )
    shown = ", ".join(f"{path} ({_why(path, error)})" for path, error in failures[:SHOWN])
    more = f" and {len(failures) - SHOWN} more" if len(failures) > SHOWN else ""
    return DataError(
        f"{len(failures)} images cannot be read. Received: files={shown}{more}. "
        "Repair or remove them"
    )


def _why(path: Path, error: BaseException) -> str:
    if not path.exists():
        return "the file is gone"
    if not path.stat().st_size:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return "it is no picture of a known kind, whatever its name says"
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
