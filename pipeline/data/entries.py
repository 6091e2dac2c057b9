"""Picture files that a table names, with class and part -> the listing of a data set."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.data.listing import SHOWN, Listing
from pipeline.data.table import Table
from pipeline.errors import DataError

ORDER = ("", "train", "test", "val")  # of the parts


@dataclass(frozen=True)
class Entry:
    """A picture file; `place` is where it is named: "line 7 of photos.csv"."""

    path: Path
    label: str
    part: str
    place: str


def of_table(table: Table, part: str = "") -> list[Entry]:
    """The pictures of a table; paths that are not absolute begin at its folder.

    Args:
        table: From `table.read`.
        part: Of all of them, where the table has no such column.
    """
    return [
        Entry(
            _found(table.file.parent, row.path),
            row.label,
            row.part or part,
            f"line {row.line} of {table.file.name}",
        )
        for row in table.rows
    ]


def _found(folder: Path, written: str) -> Path:
    r"""The path; one with the backslashes of Windows is read as such if there is no such file."""
    path = folder / Path(written).expanduser()
    if "\\" in written and not path.exists():
        return folder / written.replace("\\", "/")
    return path


def listing(entries: Sequence[Entry], source: str) -> Listing:
    """Put pictures in order: part by part, each of them once.

    Raises:
        DataError: A picture has two classes, or there is no part to learn from.
    """
    notes: list[str] = []
    once = _once(entries, source, notes)
    held = Counter(entry.part for entry in once)
    if "train" not in held and set(held) != {""}:
        raise DataError(
            f"there is no train part. Received: source={source}, images={dict(held)}. Call the "
            "part to learn from train"
        )
    parts = {part: part for part in held}
    if "val" in held and "test" not in held:
        parts["val"] = "test"
        notes.append("the only part held out, val, is the test part")
    ordered = sorted(once, key=lambda entry: ORDER.index(parts[entry.part]))
    return Listing(
        [entry.label for entry in ordered],
        [parts[entry.part] for entry in ordered],
        [(f"{entry.path} ({entry.place})", entry.path) for entry in ordered],
        by_value({entry.label for entry in once}, notes),
        tuple(notes),
    )


def _once(entries: Sequence[Entry], source: str, notes: list[str]) -> list[Entry]:
    """Each picture once in every part."""
    first: dict[Path, Entry] = {}
    once: dict[tuple[Path, str], Entry] = {}
    for entry in entries:
        known = first.setdefault(entry.path, entry)
        if known.label != entry.label:
            raise DataError(
                f"a picture has two classes. Received: source={source}, file={entry.path}, "
                f"{known.label!r} in {known.place}, {entry.label!r} in {entry.place}. Leave one"
            )
        once.setdefault((entry.path, entry.part), entry)
    if twice := len(entries) - len(once):
        notes.append(f"{twice} lines name a picture again, and count once")
    if shared := len(once) - len(first):
        notes.append(
            f"{shared} pictures are in more than one part: what is measured on them is too good"
        )
    return list(once.values())


def by_value(labels: set[str], notes: list[str]) -> tuple[str, ...] | None:
    """The classes by their values if all are whole numbers, as 10 comes after 9; else None."""
    if not all(label.isdecimal() for label in labels):
        return None
    ordered = tuple(sorted(labels, key=lambda label: (int(label), label)))
    if len(ordered) > SHOWN:
        notes.append(f"classes are whole numbers, {ordered[0]} to {ordered[-1]}, sorted by value")
    return ordered


def identity(entries: Sequence[Entry]) -> list[list[Any]]:
    """What identifies the content of the files without opening them."""
    found = []
    for entry in entries:
        stat = entry.path.stat() if entry.path.exists() else None
        about = [stat.st_size, stat.st_mtime_ns] if stat else []
        found.append([str(entry.path.absolute()), entry.label, entry.part, *about])
    return found
