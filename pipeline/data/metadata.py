"""`metadata.csv` or `metadata.jsonl` in an image folder, as Hugging Face's `imagefolder` has it.

It stands in the folder, or in each of the folders of the parts, and names every picture in a column
`file_name`. If it has a column of classes as well, these count instead of the names of folders.
"""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.data import entries, table
from pipeline.data.entries import Entry
from pipeline.data.folders import SUFFIXES, sub_folders
from pipeline.data.parts import PARTS

NAMES = ("metadata.csv", "metadata.jsonl")


def read(root: Path, source: str) -> tuple[list[Entry], list[str]] | None:
    """The pictures that such files name, with what is to be told; None if none has classes.

    Raises:
        DataError: As `table.read`.
    """
    places = [root, *(one for one in sub_folders(root) if one.name.lower() in PARTS)]
    files = [folder / name for folder in places for name in NAMES if (folder / name).is_file()]
    files = [file for file in files if {"path", "label"} <= set(table.roles(_header(file)))]
    if not files:
        return None
    found: list[Entry] = []
    notes: list[str] = []
    for file in files:
        made = table.read(file, source)
        own = PARTS.get(file.parent.name.lower(), "") if file.parent != root else ""
        found += [_placed(entry, root) for entry in entries.of_table(made, own)]
        notes += [note for note in made.notes if note not in notes]
    known = {entry.path.resolve() for entry in found}
    others = sum(path.resolve() not in known for path in _pictures(root))
    if others:
        notes.append(f"left out {others} pictures that are not named in {_named(files, root)}")
    notes.append(f"classes are those of {_named(files, root)}, not the names of folders")
    return found, notes


def _named(files: Sequence[Path], root: Path) -> str:
    return ", ".join(str(file.relative_to(root)) for file in files)


def _placed(entry: Entry, root: Path) -> Entry:
    """Take the part from the folder of the picture, if nothing else tells it."""
    inside = entry.path.relative_to(root).parts if entry.path.is_relative_to(root) else ("",)
    part = entry.part or (PARTS.get(inside[0].lower(), "") if len(inside) > 1 else "")
    return Entry(entry.path, entry.label, part, entry.place)


def _header(file: Path) -> list[str]:
    """The names of the columns, as far as they can be read."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            first = next(lines, "")
        if file.suffix == ".jsonl":
            return list(json.loads(first))
        return next(csv.reader([first]), [])
    except (OSError, ValueError, TypeError, csv.Error):
        return []


def _pictures(root: Path) -> list[Path]:
    found = root.rglob("*")
    return [path for path in found if path.suffix.lower() in SUFFIXES and path.is_file()]
