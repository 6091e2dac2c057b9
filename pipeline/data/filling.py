"""Filling an entry of the cache: every image of a source goes by once, and is written.

Pictures that cannot be read end it, with an error that names all of them, unless they are to be
left out. Images that would exceed the budget are compressed.
"""

import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.data import unreadable
from pipeline.data.inspection import Watch
from pipeline.data.pictures import Form
from pipeline.data.stores import Packer, Whole
from pipeline.data.unreadable import Unreadable
from pipeline.errors import DataError
from pipeline.system import progress

if TYPE_CHECKING:
    from pipeline.data.cache import Contents, Spans

GIGA = 10**9
DEFAULT = Form()


@dataclass(frozen=True)
class Keeping:
    """How decoded images are kept.

    Attributes:
        form: The form that is asked for.
        limit_bytes: Most bytes of the images.
        skip_unreadable: Whether pictures that cannot be read are left out.
    """

    form: Form = DEFAULT
    limit_bytes: int = 4 * GIGA
    skip_unreadable: bool = False


KEEPING = Keeping()


def fill(
    folder: Path, contents: "Contents", name: str, keeping: Keeping, limit: int | None
) -> tuple["Contents", Any]:
    """Write the images, holding few of them in memory at a time.

    Args:
        folder: Where to.
        contents: The opened source.
        name: What progress and errors call it.
        keeping: What is asked for.
        limit: Most bytes of compressed images; None: as an array.

    Returns:
        What the source holds without the pictures that were left out, and the hash of all pixels.
    """
    digest, watch = hashlib.sha256(), Watch()
    bad: list[Unreadable] = []
    rows: list[int] = []  # those that could be read
    count = len(contents.labels)
    passed = 0
    with closing(_store(folder, contents, keeping, limit)) as store:
        for image in progress.each(contents.images(None), count, f"decoding {name}"):
            passed += 1
            if isinstance(image, Unreadable):
                bad.append(image)
            elif not bad or keeping.skip_unreadable:
                if image.shape != contents.shape or image.dtype != np.uint8:
                    what = f"{image.dtype} {image.shape}"
                    raise ValueError(f"decoded to {what}, not {contents.shape}")
                rows.append(passed - 1)
                watch.see(image)
                digest.update(image.reshape(-1).data)
                store.add(image)
                _check_room(store, contents, name, keeping)
        if passed != count:
            raise ValueError(f"decoded {passed} images of {count}")
        if bad and not keeping.skip_unreadable:
            raise unreadable.refusal(bad)
        left = _finished(store, contents, rows, name, keeping)
    labels = contents.labels[rows]
    unreadable.check_classes(contents.labels, labels, contents.class_names, bad)
    bad = [*contents.unreadable, *bad]
    said = (unreadable.skipped(bad),) if bad else ()
    kept = replace(
        contents,
        labels=labels,
        spans=_spans(contents.spans, rows),
        notes=(*contents.notes, *said, *watch.notes(), *left),
    )
    return kept, digest


def _store(
    folder: Path, contents: "Contents", keeping: Keeping, limit: int | None
) -> Whole | Packer:
    if limit is None:
        return Whole(folder, contents.shape, len(contents.labels))
    height, width, channels = contents.shape
    known = replace(
        keeping.form,
        size=(height, width),
        channels=1 if channels == 1 else 3,
        levels=contents.levels,
    )
    return Packer(folder, known, limit)


def _finished(
    store: Whole | Packer, contents: "Contents", rows: Sequence[int], name: str, keeping: Keeping
) -> list[str]:
    """Finish the file of the images; what is to be said of how they are kept."""
    if isinstance(store, Whole):
        store.finish()
        return []
    store.flush()
    whole = len(rows) * int(np.prod(contents.shape))
    others = rows[store.held :]
    _check_room(store, contents, name, keeping)
    paths = contents.paths or ()
    store.finish([paths[row] for row in others])
    kept = f"{store.held} are kept compressed without loss ({_amount(store.size_bytes)})"
    more = f", and {len(others)} are decoded from their own files each time" if others else ""
    return [
        f"decoded, the images would take {_amount(whole)}, and data.cache allows "
        f"{_amount(keeping.limit_bytes)}: {kept}{more}; this is slower to read"
    ]


def _check_room(store: Whole | Packer, contents: "Contents", name: str, keeping: Keeping) -> None:
    """Raise a DataError once an image has no place, unless it has a file of its own."""
    if isinstance(store, Packer) and store.full and contents.paths is None:
        needed = int(store.average_bytes * len(contents.labels))
        raise DataError(
            f"{name}: the images do not fit into the cache, even compressed without loss. "
            f"Received: data.cache={keeping.limit_bytes}, needed_bytes={needed} or about that. "
            "Raise data.cache, or choose a smaller data.image_size"
        )


def _amount(size_bytes: int) -> str:
    """Bytes as people write them.

    >>> _amount(0), _amount(49_900), _amount(7_526_400_000)
    ('0 kB', '49.9 kB', '7.53 GB')
    """
    size, unit = size_bytes / 1000, "kB"
    for larger in ("MB", "GB", "TB"):
        if size >= 1000:
            size, unit = size / 1000, larger
    return f"{size:.3g} {unit}"


def _spans(spans: "Spans", rows: Sequence[int]) -> "Spans":
    """The parts after rows were left out."""
    return {
        part: (int(np.searchsorted(rows, start)), int(np.searchsorted(rows, stop)))
        for part, (start, stop) in spans.items()
    }
