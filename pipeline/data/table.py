"""A CSV or JSON Lines file that names pictures and their classes -> its rows.

The columns are found by their names, the delimiter by the first line. Whatever is wrong with a row
is an error that names the file, the line and the column.
"""

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.data.folders import SUFFIXES
from pipeline.data.parts import PARTS
from pipeline.errors import DataError

ROLES = {  # names of columns, of which only letters count; the first one that is there
    "path": (
        *("path", "filepath", "file", "filename", "image", "imagepath", "imagefile", "imagename"),
        *("imagefilename", "imagefilepath", "img", "imgpath", "imgfile", "imgname", "picture"),
    ),
    "label": (
        *(
            "label",
            "class",
            "category",
            "categories",
            "labelname",
            "classname",
            "categoryname",
            "target",
        ),
        *("classlabel", "labelid", "classid", "categoryid", "y"),
    ),
    "part": ("split", "part", "subset", "set", "partition", "dataset"),
}
WANTED = "Call one column path or file, and one label or class"
PART_NAMES = {**PARTS, "dev": "val"}
DELIMITERS = ",;\t|"

Fields = list[tuple[int, list[str]]]  # number of the line, and its fields


@dataclass(frozen=True)
class Row:
    """A line: the picture as it is written there, its class, and its part or ""."""

    line: int
    path: str
    label: str
    part: str


@dataclass(frozen=True)
class Table:
    """What a file says; `notes` are what a user has to know."""

    file: Path
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def read(file: Path, source: str) -> Table:
    """Read a table of pictures.

    Raises:
        DataError: The file cannot be read, or lacks a column, or a row is not complete.
    """
    notes: list[str] = []
    text = _text(file, source, notes)
    lines = _objects(text, file) if file.suffix.lower() in (".jsonl", ".ndjson") else None
    header, fields = lines or _fields(text, file)
    if not header:
        raise DataError(f"the file is empty. Received: source={source}. {WANTED}")
    columns = roles(header)
    if not {"path", "label"} <= set(columns):
        if columns or lines or not (columns := _guessed(header)):
            raise _lacking(header, columns, file)
        notes.append(
            f"{file.name} has no line with names of columns: column {columns['path'] + 1} is the "
            f"picture, column {columns['label'] + 1} its class"
        )
        fields = [(1, header), *fields]
    else:
        notes += _taken(header, columns, file)
    rows = tuple(_row(line, found, header, columns, file) for line, found in fields)
    if not rows:
        raise DataError(f"{file.name} has no rows. Received: source={source}. Name the pictures")
    return Table(file, _whole_numbers(rows, notes), tuple(notes))


def roles(header: Sequence[str]) -> dict[str, int]:
    """Which column holds the path, the label and the part, as far as the names tell.

    >>> roles(["class id", "filepaths", "labels", "data set"])
    {'path': 1, 'label': 2, 'part': 3}
    """
    plain = [re.sub("[^a-z]", "", name.lower()) for name in header]
    found = {}
    for role, names in ROLES.items():
        forms = (form for name in names for form in (name, f"{name}s", f"{name}es"))
        name = next((form for form in forms if form in plain), None)
        if name is not None:
            found[role] = plain.index(name)
    return found


def _text(file: Path, source: str, notes: list[str]) -> str:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(
            f"the file cannot be read: {error.strerror or error}. Received: source={source}. Give "
            "a file of text"
        ) from error
    utf_16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    if not utf_16 and b"\0" in data:
        raise DataError(
            f"the file is no text. Received: source={source}. Give a CSV file; a spreadsheet can "
            "be saved as one"
        )
    try:
        return data.decode("utf-16" if utf_16 else "utf-8-sig")
    except UnicodeDecodeError:
        notes.append(f"{file.name} is no UTF-8, and is read as Windows-1252")
        return data.decode("cp1252", "replace")


def _fields(text: str, file: Path) -> tuple[list[str], Fields]:
    """The names of the columns, and the fields of every line that is not empty."""
    lines = text.splitlines()
    declared = re.match(r"sep=(.)$", lines[0], re.IGNORECASE) if lines else None
    first = next((line for line in lines[1 if declared else 0 :] if line.strip()), "")
    delimiter = declared[1] if declared else max(DELIMITERS, key=lambda one: _fits(first, one))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    found: Fields = []
    try:
        for fields in reader:
            fields = [field.strip() for field in fields]
            if any(fields) and not (declared and reader.line_num == 1):
                found.append((reader.line_num, fields))
    except csv.Error as error:
        raise DataError(
            f"{file.name} is no CSV: {error}. Received: file={file}, line={reader.line_num}. "
            "Mend the quotation marks there"
        ) from error
    return (found[0][1], found[1:]) if found else ([], [])


def _fits(line: str, delimiter: str) -> tuple[int, int]:
    """How well a delimiter divides the first line: columns that are known, and columns."""
    header = line.split(delimiter)
    return len(roles([name.strip(' "') for name in header])), len(header)


def _objects(text: str, file: Path) -> tuple[list[str], Fields]:
    """The same of JSON Lines: an object on every line."""
    header: dict[str, int] = {}
    objects: list[tuple[int, dict[str, Any]]] = []
    for line, written in enumerate(text.split("\n"), 1):
        if not written.strip():
            continue
        try:
            made = json.loads(written)
        except ValueError as error:
            raise DataError(
                f"{file.name} holds a line that is no JSON: {error}. Received: file={file}, "
                f"line={line}. Write one object on every line"
            ) from error
        if not isinstance(made, dict):
            raise DataError(
                f"{file.name} holds a line that is no object. Received: file={file}, line={line}. "
                'Write {"file_name": ..., "label": ...} on every line'
            )
        objects.append((line, made))
        for key in made:
            header.setdefault(key, len(header))
    names = list(header)
    return names, [(line, [_scalar(made.get(name)) for name in names]) for line, made in objects]


def _scalar(value: Any) -> str:
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value)


def _guessed(first: Sequence[str]) -> dict[str, int]:
    """The columns of a file whose first line is already a picture; {} if it is not."""
    paths = [place for place, field in enumerate(first) if Path(field).suffix.lower() in SUFFIXES]
    parts = [place for place, field in enumerate(first) if field.lower() in PART_NAMES]
    others = [place for place in range(len(first)) if place not in (*paths, *parts)]
    if len(paths) != 1 or len(others) != 1 or len(parts) > 1:
        return {}
    return {"path": paths[0], "label": others[0]} | ({"part": parts[0]} if parts else {})


def _lacking(header: Sequence[str], columns: dict[str, int], file: Path) -> DataError:
    what = {"path": "pictures", "label": "classes"}
    lacking = " and ".join(name for role, name in what.items() if role not in columns)
    return DataError(
        f"{file.name} has no column of {lacking}. Received: file={file}, line=1, "
        f"columns={list(header)}. {WANTED}"
    )


def _taken(header: Sequence[str], columns: dict[str, int], file: Path) -> list[str]:
    """Which columns count, and which do not."""
    of = {"path": "picture", "label": "class", "part": "part"}
    taken = ", ".join(f"{header[place]} is the {of[role]}" for role, place in columns.items())
    others = [name for place, name in enumerate(header) if place not in columns.values()]
    ignored = f"; ignored {', '.join(map(repr, others))}" if others else ""
    return [f"columns of {file.name}: {taken}{ignored}"]


def _row(
    line: int, fields: list[str], header: Sequence[str], columns: dict[str, int], file: Path
) -> Row:
    """Check a line."""
    if len(fields) != len(header):
        raise DataError(
            f"{file.name} has a line of {len(fields)} fields, and the first one has {len(header)}. "
            f"Received: file={file}, line={line}. Put text with a delimiter in it into quotes"
        )
    found = {role: fields[place] for role, place in columns.items()}
    for role, place in columns.items():
        if not found[role] or (role == "part" and found[role].lower() not in PART_NAMES):
            what = f"with an unknown {role}" if found[role] else f"without a {role}"
            known = f"one of {', '.join(PART_NAMES)}" if role == "part" else "one"
            raise DataError(
                f"{file.name} has a line {what}. Received: file={file}, line={line}, "
                f"column={header[place]}, value={found[role]!r}. Write {known} there, or remove "
                "the line"
            )
    return Row(
        line, found["path"], found["label"], PART_NAMES.get(found.get("part", "").lower(), "")
    )


def _whole_numbers(rows: tuple[Row, ...], notes: list[str]) -> tuple[Row, ...]:
    """Labels 0.0, 1.0, ... are 0, 1, ...: what a program makes of numbers with gaps."""
    if not all(re.fullmatch(r"\d+\.0*", row.label) for row in rows):
        return rows
    notes.append(f"labels are whole numbers with a point, as {rows[0].label}, and taken as such")
    return tuple(Row(row.line, row.path, row.label.partition(".")[0], row.part) for row in rows)
