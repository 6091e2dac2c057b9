"""Pictures that a source lists, in files or as bytes -> what the source holds.

What all sources of encoded pictures share: classes, parts, headers, the common form, decoding by
several threads. A picture that cannot be read stands in its place as `Unreadable`.
"""

import difflib
import io
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.data import depth, inspection, pictures, unreadable
from pipeline.data.cache import Contents, Spans
from pipeline.data.depth import Levels
from pipeline.data.pictures import Form, Header
from pipeline.data.unreadable import Unreadable
from pipeline.errors import DataError
from pipeline.system import progress, threads

AHEAD = 64  # pictures that are decoded before they are asked for, hence in memory
SHOWN = 10  # classes in a message

T = TypeVar("T")
Named = tuple[str, Path | bytes]  # what errors call a picture, and where it is


@dataclass(frozen=True)
class Listing:
    """Pictures by row; those of one part stand together.

    Attributes:
        labels: The name of the class of every picture.
        parts: "train", "test" or "val" of every picture; "" where the source is not divided.
        files: Every picture, if it is a file of its own; or a function that gives the pictures of
            some rows, in that order.
        class_names: All classes in the order of their numbers; None: sorted by name.
        notes: What a user has to know.
    """

    labels: Sequence[str]
    parts: Sequence[str]
    files: Sequence[tuple[str, Path]] | Callable[[Sequence[int]], Iterable[Named]]
    class_names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    def of(self, rows: Sequence[int]) -> Iterable[Named]:
        """The pictures of some rows."""
        if callable(self.files):
            return self.files(rows)
        return map(self.files.__getitem__, rows)

    def paths(self, rows: Sequence[int]) -> list[Path] | None:
        """The files of some rows; None where pictures are no files of their own."""
        return None if callable(self.files) else [self.files[row][1] for row in rows]


def contents(listing: Listing, source: str, form: Form) -> Contents:
    """Read the headers of all pictures, and settle classes, channels and size."""
    notes = list(listing.notes)
    class_names = _class_names(listing, source, notes)
    headers = _headers(listing, source)
    found = [one for one in headers.values() if isinstance(one, Header)]
    if not found:
        raise unreadable.refusal([one for one in headers.values() if isinstance(one, Unreadable)])
    size = form.size or pictures.own_size(found)
    channels = form.channels or (1 if all(one.grey for one in found) else 3)
    notes += inspection.kinds(found, channels)
    notes += [] if form.size else inspection.sizes(found, size)
    levels = form.levels or _levels(listing, headers, source, notes)
    rows = [row for row, one in headers.items() if isinstance(one, Header)]

    def decode(file: Path | IO[bytes]) -> npt.NDArray[np.uint8]:
        return pictures.decode(file, size, channels, form.fit, levels)

    def images(wanted: Sequence[int] | None) -> Iterator[npt.NDArray[np.uint8] | Unreadable]:
        chosen = rows if wanted is None else [rows[row] for row in wanted]
        return in_threads(decode, listing.of(chosen))

    number = {name: label for label, name in enumerate(class_names)}
    labels = np.array([number[name] for name in listing.labels], np.int32)
    bad = tuple(one for one in headers.values() if isinstance(one, Unreadable))
    unreadable.check_classes(labels, labels[rows], class_names, bad)
    return Contents(
        class_names,
        labels[rows],
        (*size, channels),
        _spans([listing.parts[row] for row in rows]),
        images,
        tuple(notes),
        levels,
        unreadable=bad,
        paths=listing.paths(rows),
    )


def _class_names(listing: Listing, source: str, notes: list[str]) -> tuple[str, ...]:
    """The classes of the train part; no other part may have more."""
    of_part: dict[str, set[str]] = {}
    for part, label in zip(listing.parts, listing.labels, strict=True):
        of_part.setdefault(part, set()).add(label)
    train = of_part.get("train", of_part.get("", set()))
    for part, classes in of_part.items():
        if more := sorted(classes - train):
            raise _strange(more, part, sorted(train), source)
        if lacking := sorted(train - classes):
            notes.append(f"no image in the {part} part of {_some(lacking, len(train))}")
    if listing.class_names is None:
        return tuple(sorted(train))
    if lacking := [name for name in listing.class_names if name not in train]:
        notes.append(f"no image of {_some(lacking, len(listing.class_names))}")
    return listing.class_names


def _some(names: Sequence[str], whole: int) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} of {whole} classes: {', '.join(names[:SHOWN])}{more}"


def _strange(more: list[str], part: str, train: list[str], source: str) -> DataError:
    """The error on classes that the train part lacks."""
    what = f"class {more[0]!r} of the {part} part is not in the train part"
    if len(more) > 1:
        names = ", ".join(map(repr, more[:SHOWN])) + (" ..." if len(more) > SHOWN else "")
        what = f"{len(more)} classes of the {part} part are not in the train part: {names}"
    folded = {name.casefold(): name for name in train}
    near = difflib.get_close_matches(more[0].casefold(), folded, 1, 0.8)
    meant = f" Is {more[0]!r} meant to be {folded[near[0]]!r}?" if near else ""
    shown = train[:SHOWN] if len(train) <= SHOWN else [*train[:SHOWN], f"{len(train)} in all"]
    return DataError(
        f"{what}. Received: source={source}, train classes={shown}.{meant} Give them the same "
        "names, add such images to the train part, or remove them from the other"
    )


def _spans(parts: Sequence[str]) -> Spans:
    """Return first row and row after the last of every part; pictures come part by part."""
    parts = list(parts)
    return {
        part: (parts.index(part), parts.index(part) + parts.count(part))
        for part in dict.fromkeys(parts)
        if part
    }


def _headers(listing: Listing, source: str) -> dict[int, Header | Unreadable]:
    """Read all headers; whatever is odd about them is in `inspection.kinds`."""
    rows = range(len(listing.labels))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        read = in_threads(pictures.header, listing.of(rows))
        shown = progress.each(read, len(rows), f"reading the headers of {source}")
        return dict(zip(rows, shown, strict=True))


def _levels(
    listing: Listing, headers: dict[int, Header | Unreadable], source: str, notes: list[str]
) -> Levels | None:
    """What becomes black and white, by the range that all pictures of more than 8 bits use.

    Those of them that cannot be decoded become `Unreadable` in `headers`.
    """
    deep = [row for row, one in headers.items() if isinstance(one, Header) and one.deep]
    read = in_threads(depth.extremes, listing.of(deep))
    shown = progress.each(read, len(deep), f"reading the range of values of {source}")
    found: list[tuple[float, float]] = []
    for row, one in zip(deep, shown, strict=True):
        if isinstance(one, Unreadable):
            headers[row] = one
        else:
            found.append(one)
    if not found:
        return None
    levels = depth.levels_of(min(low for low, _ in found), max(high for _, high in found))
    notes.append(inspection.scaling(len(found), levels))
    return levels


def in_threads(
    read: Callable[[Path | IO[bytes]], T], files: Iterable[Named]
) -> Iterator[T | Unreadable]:
    """Read every file, a few at once; yield the results in order, or why there is none."""

    def tried(named: Named) -> T | Unreadable:
        name, file = named
        try:
            return read(io.BytesIO(file) if isinstance(file, bytes) else file)
        except DataError:  # of what is missing here, not of the picture
            raise
        except pictures.UNREADABLE as error:
            return unreadable.of(name, file, error)

    coming = iter(files)
    with threads.pool() as pool:
        ahead: deque[Any] = deque(pool.submit(tried, one) for one in islice(coming, AHEAD))
        while ahead:
            yield ahead.popleft().result()
            ahead.extend(pool.submit(tried, one) for one in islice(coming, 1))
