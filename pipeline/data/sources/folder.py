"""`folder:PATH`: one sub-folder of pictures per class, or train/ and test/ folders of those.

PNG, JPEG and BMP. Upright as EXIF says; what is transparent becomes white; one channel only if
every picture is grey. The shorter side is scaled to `image_size`, the longer one centre-cropped.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.data import pictures
from pipeline.data.cache import Contents, Source, Spans
from pipeline.data.pictures import Form
from pipeline.errors import DataError

FORM = "folder:PATH"
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp"}
PARTS = {"train": "train", "test": "test", "val": "val", "valid": "val", "validation": "val"}
CHUNK = 256  # pictures decoded at once, hence in memory

log = logging.getLogger("flopsmith")


@dataclass(frozen=True)
class Picture:
    """A file of the data set; `part` is "" where the folder is not divided."""

    path: Path
    part: str
    class_name: str


def find(rest: str, form: Form, data_dir: str | None) -> Source:
    """List the pictures under the folder `rest`, without opening them."""
    root = Path(rest).expanduser()
    if not root.is_dir():
        wrong = "is not a folder" if root.exists() else "does not exist"
        raise DataError(
            f"the image folder {wrong}. Received: source=folder:{rest}. "
            "Give a folder with one sub-folder of images per class"
        )
    found = [
        picture
        for part, folder in _parts(root).items()
        for picture in _scan(folder, part, f"folder:{rest}")
    ]
    about = []
    for picture in found:
        stat = picture.path.stat()
        about.append([str(picture.path.relative_to(root)), stat.st_size, stat.st_mtime_ns])
    # The place is part of it: two folders of equal names, sizes and times may still differ.
    identity = ("folder", str(root.resolve()), about)
    return Source(identity, lambda: _open(found, f"folder:{rest}", form))


def _parts(root: Path) -> dict[str, Path]:
    """Map "train", "test", "val" to their folders; "" to `root` where it holds the classes."""
    names = {path.name: path for path in _sub_folders(root)}
    parts = {PARTS[name]: path for name, path in names.items() if name in PARTS}
    if len(names) < 2 or "train" not in parts or len(parts) < len(names):
        return {"": root}
    if "test" not in parts:  # as everywhere: the only part held out is the test part
        parts["test"] = parts.pop("val")
    return parts


def _sub_folders(folder: Path) -> list[Path]:
    """List the visible sub-folders, sorted by name."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _scan(folder: Path, part: str, source: str) -> list[Picture]:
    """List the pictures of every class under `folder`, sorted by path."""
    classes = _sub_folders(folder)
    if len(classes) < 2:
        raise DataError(
            f"{folder} holds fewer than two classes. Received: source={source}, "
            f"sub_folders={[path.name for path in classes]}. Put the images of each class into a "
            "sub-folder of their own"
        )
    found: list[Picture] = []
    ignored = len([path for path in folder.iterdir() if path not in classes])
    for class_folder in classes:
        inside = sorted(class_folder.iterdir())
        images = [path for path in inside if _is_picture(path)]
        if not images:
            raise DataError(
                f"class {class_folder.name!r} has no images. Received: folder={class_folder}. "
                "Put PNG, JPEG or BMP files directly into it, or remove it"
            )
        ignored += len(inside) - len(images)
        found += [Picture(path, part, class_folder.name) for path in images]
    if ignored:
        log.info("%s: ignored %d files or folders that are not images", folder, ignored)
    return found


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _open(found: list[Picture], source: str, form: Form) -> Contents:
    """Read the headers of all pictures, and settle classes, channels and size."""
    spans = _spans([picture.part for picture in found])
    start, stop = spans.get("train", (0, len(found)))
    class_names = sorted({picture.class_name for picture in found[start:stop]})
    number = {name: label for label, name in enumerate(class_names)}
    for picture in found:
        if picture.class_name not in number:
            raise DataError(
                f"class {picture.class_name!r} of the {picture.part} part is not in the train "
                f"part. Received: source={source}, train classes={class_names}. Add it there, or "
                "remove it here"
            )
    headers = [_header(picture.path) for picture in found]
    size = form.size or pictures.own_size(headers)
    notes = [] if form.size else pictures.size_notes(headers, size)
    channels = form.channels or (1 if all(one.grey for one in headers) else 3)

    def decode(picture: Picture) -> npt.NDArray[np.uint8]:
        try:
            return pictures.decode(picture.path, size, channels, form.fit)
        except pictures.UNREADABLE as error:
            raise _unreadable(picture.path, error) from error

    def images(rows: Sequence[int] | None) -> Iterator[npt.NDArray[np.uint8]]:
        wanted = found if rows is None else [found[row] for row in rows]
        with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
            for first in range(0, len(wanted), CHUNK):
                yield from pool.map(decode, wanted[first : first + CHUNK])

    labels = np.array([number[picture.class_name] for picture in found], np.int32)
    return Contents(tuple(class_names), labels, (*size, channels), spans, images, tuple(notes))


def _spans(parts: list[str]) -> Spans:
    """Return first row and row after the last of every part; pictures come part by part."""
    return {
        part: (parts.index(part), parts.index(part) + parts.count(part))
        for part in dict.fromkeys(parts)
        if part
    }


def _header(path: Path) -> pictures.Header:
    try:
        return pictures.header(path)
    except pictures.UNREADABLE as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: BaseException) -> DataError:
    why = " ".join(str(error).split())
    return DataError(f"an image cannot be read: {why}. Received: file={path}. Repair or remove it")
