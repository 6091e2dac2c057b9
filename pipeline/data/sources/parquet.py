"""`parquet:PATH`: one Parquet file, or a folder of them, as Hugging Face keeps data sets of images.

A column holds the pictures, as bytes or as a struct of `bytes` and `path`; another one the classes,
as text or as numbers, which the metadata of the file may name. The names of files or of the folders
they lie in tell the parts: `train-00000-of-00002.parquet`, `test/0000.parquet`.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.data import entries, listing
from pipeline.data.cache import Source
from pipeline.data.listing import Listing, Named
from pipeline.data.parts import PARTS
from pipeline.data.pictures import Form
from pipeline.data.table import roles
from pipeline.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

FORM = "parquet:PATH"
BATCH = 64  # pictures that are read at once, hence in memory as encoded bytes


@dataclass(frozen=True)
class _Columns:
    """Which columns count, and the names of the classes if the metadata have them."""

    image: str
    label: str
    names: tuple[str, ...] | None


@dataclass(frozen=True)
class _Held:
    """A picture: its file, the row in it, its class and its part."""

    file: Path
    row: int
    label: str
    part: str


def find(rest: str, form: Form, data_dir: str | None) -> Source:
    """List the files, without opening them."""
    root, source = Path(rest).expanduser(), f"parquet:{rest}"
    if not root.exists():
        raise DataError(
            f"there is no such file or folder. Received: source={source}. Give a Parquet file, or "
            "a folder with such files"
        )
    files = [root] if root.is_file() else sorted(root.rglob("*.parquet"))
    if not files:
        raise DataError(
            f"the folder has no file that ends in .parquet. Received: source={source}. Give "
            "another folder; folder:PATH reads folders of pictures"
        )
    about = [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    return Source(
        ("parquet", about), lambda: listing.contents(_listed(files, root, source), source, form)
    )


def _listed(files: Sequence[Path], root: Path, source: str) -> Listing:
    """Read the classes of all pictures."""
    notes: list[str] = []
    parts = _parts(files, root, source, notes)
    columns = _columns(files[0], source, notes)
    held: list[_Held] = []
    for file in sorted(files, key=lambda file: entries.ORDER.index(parts[file])):
        labels = _labels(file, columns, source)
        held += [_Held(file, row, label, parts[file]) for row, label in enumerate(labels)]
    held = _labelled(held, source, notes)
    names = columns.names or entries.by_value({one.label for one in held}, notes)

    def pictures(rows: Sequence[int]) -> Iterator[Named]:
        return _read([held[row] for row in rows], columns.image)

    return Listing(
        [one.label for one in held],
        [one.part for one in held],
        pictures,
        names,
        tuple(notes),
    )


def _parts(files: Sequence[Path], root: Path, source: str, notes: list[str]) -> dict[Path, str]:
    """The part of every file, by its name or that of a folder it lies in."""
    parts = {file: _part(file, root) for file in files}
    held = set(parts.values())
    if "" in held and len(held) > 1:
        unknown = next(file for file, part in parts.items() if not part)
        raise DataError(
            f"it is not clear to which part a file belongs. Received: source={source}, "
            f"file={unknown.name}, parts of others={sorted(held - {''})}. Let its name begin with "
            "train, validation or test, or move it away"
        )
    if held == {"test"} or held == {"val"}:
        return dict.fromkeys(files, "")
    if held != {""} and "train" not in held:
        raise DataError(
            f"there is no train part. Received: source={source}, files="
            f"{[file.name for file in files[:5]]}. Add files whose names begin with train"
        )
    if "val" in held and "test" not in held:
        notes.append("the only part held out, validation, is the test part")
        return {file: "test" if part == "val" else part for file, part in parts.items()}
    return parts


def _part(file: Path, root: Path) -> str:
    inside = file.relative_to(root).parts if file != root else (file.name,)
    for name in reversed(inside):
        first = re.split("[-_.]", name.lower())[0]
        if first in PARTS:
            return PARTS[first]
    return ""


def _columns(file: Path, source: str, notes: list[str]) -> _Columns:
    """Find the column of the pictures and that of the classes."""
    schema = _open(file, source).schema_arrow
    features = _features(schema)
    images = [field.name for field in schema if _is_image(field.type)]
    tagged = [name for name in images if features.get(name, {}).get("_type") == "Image"]
    usual = [name for name in images if "path" in roles([name])]
    image = next(iter([*tagged, *usual, *images]), None)
    classes = [name for name, one in features.items() if one.get("_type") == "ClassLabel"]
    named = [name for name in schema.names if "label" in roles([name])]
    both = [name for name in classes if name in named]
    label = next((name for name in [*both, *classes, *named] if name in schema.names), None)
    if image is None or label is None:
        lacking = "pictures" if image is None else "classes"
        held = {field.name: str(field.type) for field in schema}
        raise DataError(
            f"there is no column of {lacking}. Received: source={source}, file={file.name}, "
            f"columns={held}. Write pictures as bytes into a column image, and classes as numbers "
            "or text into a column label"
        )
    others = [name for name in schema.names if name not in (image, label)]
    ignored = f"; ignored {', '.join(map(repr, others))}" if others else ""
    notes.append(f"columns: {image} is the picture, {label} is the class{ignored}")
    names = features.get(label, {}).get("names")
    return _Columns(image, label, tuple(map(str, names)) if names else None)


def _features(schema: "pa.Schema") -> dict[str, dict[str, Any]]:
    """What Hugging Face's library wrote about the columns."""
    try:
        written = json.loads((schema.metadata or {})[b"huggingface"])
        features = written["info"]["features"]
        return {name: one for name, one in features.items() if isinstance(one, dict)}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def _is_image(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _is_image(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _open(file: Path, source: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        why = " ".join(str(error).split())[:200].rstrip(".")
        raise DataError(
            f"the file cannot be read as Parquet: {why}. Received: source={source}, file={file}. "
            "Write it anew, or remove it"
        ) from error


def _labels(file: Path, columns: _Columns, source: str) -> list[str]:
    """The class of every row; "" where there is none."""
    import pyarrow as pa

    opened = _open(file, source)
    missing = {columns.image, columns.label} - set(opened.schema_arrow.names)
    if missing:
        raise DataError(
            f"a file lacks the column {', '.join(sorted(missing))}, which others have. Received: "
            f"source={source}, file={file}. Give files with the same columns"
        )
    found = opened.read(columns=[columns.label]).column(columns.label)
    kind = found.type.value_type if pa.types.is_dictionary(found.type) else found.type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (text or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise DataError(
            f"the column {columns.label} does not hold one class per picture. Received: "
            f"source={source}, file={file.name}, type={kind}. Give whole numbers or text"
        )
    return [_named(value, columns, file, source) for value in found.to_pylist()]


def _named(value: Any, columns: _Columns, file: Path, source: str) -> str:
    if value is None or (value == -1 and not isinstance(value, str)):
        return ""
    if columns.names is None or isinstance(value, str):
        return str(value)
    if not 0 <= value < len(columns.names):
        raise DataError(
            f"a number of a class has no name. Received: source={source}, file={file.name}, "
            f"{columns.label}={value}, names={len(columns.names)}. Name all classes"
        )
    return columns.names[int(value)]


def _labelled(held: list[_Held], source: str, notes: list[str]) -> list[_Held]:
    """Leave out parts without classes; a picture without one in another part is an error."""
    bare = {one.part for one in held} - {one.part for one in held if one.label}
    for part in sorted(bare):
        count = sum(one.part == part for one in held)
        notes.append(f"left out {part or 'all'}: its {count} images have no classes")
    kept = [one for one in held if one.part not in bare]
    without = [one for one in kept if not one.label]
    if without or not kept:
        first = f", file={without[0].file.name}, row={without[0].row}" if without else ""
        raise DataError(
            f"{len(without) or len(held)} images have no class. Received: source={source}{first}. "
            "Give each of them one, or remove them"
        )
    return kept


def _read(held: Sequence[_Held], column: str) -> Iterator[Named]:
    """The encoded pictures of some rows, in that order; a file is read from front to back."""
    place = 0
    while place < len(held):
        end = place
        while end < len(held) and held[end].file == held[place].file:
            if end > place and held[end].row <= held[end - 1].row:
                break
            end += 1
        yield from _of_file(held[place:end], column)
        place = end


def _of_file(held: Sequence[_Held], column: str) -> Iterator[Named]:
    """The pictures of rows of one file that increase; only groups with such rows are read."""
    opened = _open(held[0].file, held[0].file.name)
    wanted = [one.row for one in held]
    start = place = 0
    for group in range(opened.num_row_groups):
        stop = start + opened.metadata.row_group(group).num_rows
        if place < len(wanted) and wanted[place] < stop:
            for batch in opened.iter_batches(BATCH, row_groups=[group], columns=[column]):
                while place < len(wanted) and wanted[place] < start + len(batch):
                    value = batch.column(0)[wanted[place] - start].as_py()
                    yield f"{held[0].file}, row {wanted[place]}", _bytes(value, held[0].file)
                    place += 1
                start += len(batch)
        start = stop


def _bytes(value: Any, file: Path) -> Path | bytes:
    """A picture as bytes; a struct may name a file beside the table instead."""
    path = value.get("path") if isinstance(value, dict) else None
    data = value.get("bytes") if isinstance(value, dict) else value
    return file.parent / path if path and not data else bytes(data or b"")
