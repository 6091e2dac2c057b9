"""Decoded images on disk: every source is decoded once, then opened as a memory map.

What would take more bytes than `data.cache` allows is kept compressed: `data.packed`.
"""

import io
import json
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.data import filling
from pipeline.data.depth import Levels
from pipeline.data.filling import KEEPING, Keeping
from pipeline.data.packed import PIXELS, Images, Packed
from pipeline.data.pictures import Form
from pipeline.data.stores import IMAGES
from pipeline.data.unreadable import Unreadable
from pipeline.errors import DataError, OutputError
from pipeline.system.files import cache_root, fingerprint, write_atomic

FORMAT = 2  # raise it when the same source is decoded to other pixels than before
LABELS, META = "labels.npy", "meta.json"
UNFINISHED = ".decoding-"  # prefix of the folders that are being written
STALE_SECONDS = 24 * 3600
Spans = dict[str, tuple[int, int]]  # "train", "val", "test" -> first row, row after the last


@dataclass(frozen=True)
class Contents:
    """What a source holds, known before the first pixel is decoded.

    `images` decodes: uint8 of `shape` [H, W, C] each, in the order of `labels`, or only the rows
    that it is given; a picture that cannot be read is an `Unreadable` there. `spans` are the parts
    that the source itself is divided into, empty where it is not. `notes` are what a user has to
    know: a line for all that was left out or converted. `levels` are what became black and white
    in pictures of more than 8 bits, if there were any. `unreadable` are pictures that are in no row
    because even their headers cannot be read. `paths` are the files of all rows, where each picture
    is a file that `pictures.decode` reads.
    """

    class_names: tuple[str, ...]
    labels: npt.NDArray[np.int32]
    shape: tuple[int, int, int]
    spans: Spans
    images: Callable[[Sequence[int] | None], Iterable[npt.NDArray[np.uint8] | Unreadable]]
    notes: tuple[str, ...] = ()
    levels: Levels | None = None
    unreadable: tuple[Unreadable, ...] = ()
    paths: Sequence[Path] | None = None


@dataclass(frozen=True)
class Source:
    """A source that was found: plain data that identifies its content, and how to open it.

    `notes` are like those of `Contents`, of what is known without opening it: what was left out.
    """

    identity: tuple[Any, ...]
    open: Callable[[], Contents]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decoded:
    """A decoded source; `fingerprint` covers every pixel, label and name."""

    class_names: tuple[str, ...]
    labels: npt.NDArray[np.int32]
    images: Images
    spans: Spans
    fingerprint: str
    notes: tuple[str, ...] = ()
    levels: Levels | None = None


class _Meta(BaseModel):
    """`meta.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    class_names: tuple[str, ...]
    spans: Spans
    fingerprint: str
    notes: tuple[str, ...]
    levels: Levels | None


def folder_of(source: Source, form: Form, skip_unreadable: bool = False) -> Path:
    """Return the folder for a source in that form, which need not exist."""
    how = ["skip_unreadable"] if skip_unreadable else []
    return cache_root() / fingerprint(FORMAT, source.identity, asdict(form), *how)


def read(folder: Path, limit_bytes: int | None = None) -> Decoded | None:
    """Open a decoded source; None if it is missing or incomplete, or exceeds the limit."""
    whole = _read(folder)
    if limit_bytes is None or (whole and whole.images.size <= limit_bytes):
        return whole
    return _read(_packed(folder, limit_bytes))


def _packed(folder: Path, limit_bytes: int) -> Path:
    return folder.with_name(f"{folder.name}-{limit_bytes}")


def _read(folder: Path) -> Decoded | None:
    try:
        meta = _Meta(**json.loads((folder / META).read_text(encoding="utf-8")))
        labels = np.load(folder / LABELS)
        packed = (folder / PIXELS).exists()
        images = Packed(folder) if packed else np.load(folder / IMAGES, mmap_mode="r")
    except (FileNotFoundError, EOFError, ValueError, KeyError, ValidationError):
        return None
    if len(labels) != len(images):
        return None
    return Decoded(
        meta.class_names, labels, images, meta.spans, meta.fingerprint, meta.notes, meta.levels
    )


def write(folder: Path, contents: Contents, name: str, keeping: Keeping = KEEPING) -> Decoded:
    """Decode everything into `folder`, or beside it if compressed; completely or not at all.

    If two processes decode the same source, the slower one deletes its copy.

    Args:
        folder: where to keep it, from `folder_of`.
        contents: the opened source.
        name: what progress and errors call it.
        keeping: how to keep it.

    Raises:
        DataError: Pictures cannot be read, and are not to be left out; or the images do not fit.
    """
    limit = _limit(folder.parent, contents, name, keeping)
    if limit is not None:
        folder = _packed(folder, keeping.limit_bytes)
    temporary: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder.parent)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=UNFINISHED))
        with warnings.catch_warnings():  # what Pillow would say of single files is in the notes
            warnings.filterwarnings("ignore", module="PIL")
            _describe(temporary, *filling.fill(temporary, contents, name, keeping, limit))
        if read(folder) is None:
            shutil.rmtree(folder, ignore_errors=True)  # damaged, or missing
            _rename(temporary, folder)
        done = read(folder)
    except OSError as error:
        raise OutputError(
            f"cannot keep the decoded images: {error.strerror or error}. "
            f"Received: folder={folder.parent}. Make room there, or set XDG_CACHE_HOME"
        ) from error
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
    if done is None:
        raise OutputError(
            f"the decoded images were removed while being written. Received: folder={folder}. "
            "Run again"
        )
    return done


def _limit(root: Path, contents: Contents, name: str, keeping: Keeping) -> int | None:
    """Most bytes of compressed images; None: as an array they fit. Raises if nothing would."""
    whole = len(contents.labels) * int(np.prod(contents.shape))
    needed = whole + len(contents.labels) * contents.labels.itemsize
    existing = next(path for path in (root, *root.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    within = whole <= keeping.limit_bytes
    if within and needed <= free:
        return None
    if within and contents.paths is None:
        raise DataError(
            f"{name} does not fit on the disk once decoded. Received: needed_bytes={needed}, "
            f"free_bytes={free}, folder={root}. Free space, choose a smaller image_size, or set "
            "XDG_CACHE_HOME"
        )
    return min(keeping.limit_bytes, free * 9 // 10)


def _describe(folder: Path, contents: Contents, digest: Any) -> None:
    """Write the labels and what else is known of the images."""
    labels = io.BytesIO()
    np.save(labels, contents.labels)
    write_atomic(folder / LABELS, labels.getvalue())
    digest.update(labels.getvalue())
    shape = (len(contents.labels), *contents.shape)
    whole = fingerprint(digest.hexdigest(), shape, contents.class_names, contents.spans)
    meta = _Meta(
        class_names=contents.class_names,
        spans=contents.spans,
        fingerprint=whole,
        notes=contents.notes,
        levels=contents.levels,
    )
    write_atomic(folder / META, meta.model_dump_json(indent=1) + "\n")


def _rename(temporary: Path, folder: Path) -> None:
    """Move the finished folder to its place, unless another process was faster."""
    try:
        temporary.rename(folder)
    except OSError:
        if read(folder) is None:
            raise


def _sweep(root: Path) -> None:
    """Remove folders that processes left behind which were killed at least a day ago."""
    for path in root.glob(f"{UNFINISHED}*"):
        try:
            written = [file.stat().st_mtime for file in path.iterdir()]
            touched = max(written, default=path.stat().st_mtime)
        except FileNotFoundError:  # its process has just finished
            continue
        if time.time() - touched > STALE_SECONDS:
            shutil.rmtree(path, ignore_errors=True)
