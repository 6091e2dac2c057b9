"""Decoded images on disk: every source is decoded once, then opened as a memory map."""

import hashlib
import io
import json
import logging
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.data.depth import Levels
from pipeline.data.inspection import Watch
from pipeline.data.pictures import Form
from pipeline.errors import DataError, OutputError
from pipeline.system.files import cache_root, fingerprint, write_atomic

FORMAT = 2  # raise it when the same source is decoded to other pixels than before
IMAGES, LABELS, META = "images.npy", "labels.npy", "meta.json"
UNFINISHED = ".decoding-"  # prefix of the folders that are being written
STALE_SECONDS = 24 * 3600
LOG_SECONDS = 10.0

Spans = dict[str, tuple[int, int]]  # "train", "val", "test" -> first row, row after the last

log = logging.getLogger("flopsmith")


@dataclass(frozen=True)
class Contents:
    """What a source holds, known before the first pixel is decoded.

    `images` decodes: uint8 of `shape` [H, W, C] each, in the order of `labels`, or only the rows
    that it is given. `spans` are the parts that the source itself is divided into, empty where it
    is not. `notes` are what a user has to know: a line for all that was left out or converted.
    `levels` are what became black and white in pictures of more than 8 bits, if there were any.
    """

    class_names: tuple[str, ...]
    labels: npt.NDArray[np.int32]
    shape: tuple[int, int, int]
    spans: Spans
    images: Callable[[Sequence[int] | None], Iterable[npt.NDArray[np.uint8]]]
    notes: tuple[str, ...] = ()
    levels: Levels | None = None


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
    images: npt.NDArray[np.uint8]
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


def folder_of(source: Source, form: Form) -> Path:
    """Return the folder for a source in that form, which need not exist."""
    return cache_root() / fingerprint(FORMAT, source.identity, asdict(form))


def read(folder: Path) -> Decoded | None:
    """Open a decoded source; None if it is missing or incomplete."""
    try:
        meta = _Meta(**json.loads((folder / META).read_text(encoding="utf-8")))
        labels = np.load(folder / LABELS)
        images = np.load(folder / IMAGES, mmap_mode="r")
    except (FileNotFoundError, EOFError, ValueError, ValidationError):
        return None
    if len(labels) != len(images):
        return None
    return Decoded(
        meta.class_names, labels, images, meta.spans, meta.fingerprint, meta.notes, meta.levels
    )


def write(folder: Path, contents: Contents, name: str) -> Decoded:
    """Decode everything into `folder`, completely or not at all.

    If two processes decode the same source, the slower one deletes its copy.

    Args:
        folder: where to keep it, from `folder_of`.
        contents: the opened source.
        name: what progress and errors call it.
    """
    _check_space(folder.parent, contents, name)
    temporary: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder.parent)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=UNFINISHED))
        with warnings.catch_warnings():  # what Pillow would say of single files is in the notes
            warnings.filterwarnings("ignore", module="PIL")
            _fill(temporary, contents, name)
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


def _check_space(root: Path, contents: Contents, name: str) -> None:
    """Raise a DataError if the decoded images would not fit."""
    needed = len(contents.labels) * (int(np.prod(contents.shape)) + contents.labels.itemsize)
    existing = next(path for path in (root, *root.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise DataError(
            f"{name} does not fit on the disk once decoded. Received: needed_bytes={needed}, "
            f"free_bytes={free}, folder={root}. Free space, choose a smaller image_size, or set "
            "XDG_CACHE_HOME"
        )


def _fill(folder: Path, contents: Contents, name: str) -> None:
    """Write the three files, holding one image in memory at a time.

    Plain writes, not a memory map: on a full disk those fail as an error, a map kills the process.
    """
    count = len(contents.labels)
    digest = hashlib.sha256()
    watch = Watch()
    shape = (count, *contents.shape)
    with (folder / IMAGES).open("wb") as file:
        about = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, about)
        written = 0
        for image in _shown(contents.images(None), count, name):
            if image.shape != contents.shape or image.dtype != np.uint8:
                raise ValueError(f"decoded to {image.dtype} {image.shape}, not {contents.shape}")
            watch.see(image)
            data = image.tobytes()
            digest.update(data)
            file.write(data)
            written += 1
        if written != count:
            raise ValueError(f"decoded {written} images of {count}")
        file.flush()
        os.fsync(file.fileno())
    labels = io.BytesIO()
    np.save(labels, contents.labels)
    write_atomic(folder / LABELS, labels.getvalue())
    digest.update(labels.getvalue())
    whole = fingerprint(digest.hexdigest(), shape, contents.class_names, contents.spans)
    meta = _Meta(
        class_names=contents.class_names,
        spans=contents.spans,
        fingerprint=whole,
        notes=(*contents.notes, *watch.notes()),
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
        images = path / IMAGES
        try:
            touched = (images if images.exists() else path).stat().st_mtime
        except FileNotFoundError:  # its process has just finished
            continue
        if time.time() - touched > STALE_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def _shown(
    items: Iterable[npt.NDArray[np.uint8]], total: int, name: str
) -> Iterator[npt.NDArray[np.uint8]]:
    """Pass items on, with a progress bar on a terminal and a line now and then elsewhere."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        yield from track(items, f"decoding {name}", total, console=Console(stderr=True))
        return
    log.info("decoding %s: %d images", name, total)
    told = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        if time.monotonic() - told > LOG_SECONDS:
            told = time.monotonic()
            log.info("decoding %s: %d of %d images", name, done, total)
