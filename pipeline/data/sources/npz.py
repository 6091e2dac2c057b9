"""`npz:PATH`: a NumPy archive with x_train, y_train, perhaps x_test, y_test and class_names.

Other usual names of the arrays are understood: `train_images`, `images` and `labels`, `arr_0`. What
may be in them is in `data.arrays` and `data.labels`.
"""

import hashlib
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.data import arrays
from pipeline.data.arrays import NAMES, PARTS
from pipeline.data.cache import Contents, Source
from pipeline.data.pictures import Form
from pipeline.errors import DataError

FORM = "npz:PATH"
REQUIRED = ("x_train", "y_train")
WANTED = "x_train, y_train, and x_test, y_test if there is a test part"
PART = "train(?:ing)?|test(?:ing)?|val(?:id(?:ation)?)?"
ROLE = "x|images?|imgs?|data|y|labels?|targets?"
KEY = re.compile(rf"(?P<before>{PART})?(?P<role>{ROLE})(?P<after>{PART})?")
OTHER_NAMES = ("label_names", "classes", "categories")  # of the array of class names

Array = npt.NDArray[Any]


def find(rest: str, form: Form, data_dir: str | None) -> Source:
    """Hash the archive `rest`, without reading its arrays."""
    path = Path(rest).expanduser()
    if not path.is_file():
        raise DataError(
            f"there is no such file. Received: source=npz:{rest}. Give a .npz file with {WANTED}"
        )
    if not zipfile.is_zipfile(path):
        raise DataError(
            f"the file is not a NumPy archive. Received: source=npz:{rest}. "
            "Write it with numpy.savez"
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Source(("npz", digest), lambda: _open(path, form))


def _open(path: Path, form: Form) -> Contents:
    """Load the arrays that count, without running any code that the file may carry."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            keys = _keys(archive, path)
            found = {ours: _array(archive, theirs, path) for ours, theirs in keys.items()}
            files = list(archive.files)
    except DataError:
        raise
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path, "the archive", error) from error
    notes = _notes(keys, files)
    contents = arrays.read(found, str(path), form)
    return replace(contents, notes=(*notes, *contents.notes))


def _array(archive: Any, key: str, path: Path) -> Array:
    try:
        array: Array = archive[key]
    except ValueError as error:
        raise _damaged(path, f"the array {key}", error) from error
    return array


def _damaged(path: Path, what: str, error: Exception) -> DataError:
    return DataError(
        f"{what} cannot be read: {' '.join(str(error).split())}. Received: file={path}. "
        "Write it anew with numpy.savez, from arrays of numbers or text instead of Python objects"
    )


def _notes(keys: Mapping[str, str], files: list[str]) -> list[str]:
    """What was taken under another name, left out, or is missing."""
    notes = []
    if other := [f"{theirs} as {ours}" for ours, theirs in keys.items() if ours != theirs]:
        notes.append(f"takes {', '.join(other)}")
    if ignored := sorted(set(files) - set(keys.values())):
        notes.append(f"ignored the arrays {', '.join(ignored)}")
    if "x_test" not in keys and "x_val" not in keys:
        notes.append("there is no test part: it is divided off the images")
    return notes


def _keys(archive: Any, path: Path) -> dict[str, str]:
    """Which array of the archive stands for which of ours."""
    names = list(archive.files)
    found = {**_by_name(names, path)}
    if not set(REQUIRED) <= set(found):
        found = _by_shape({name: _array(archive, name, path) for name in _in_order(names)})
    missing = [key for key in REQUIRED if key not in found]
    if missing:
        lacking = ", ".join(key for key in missing if key not in names) or "images with labels"
        raise DataError(
            f"the archive lacks {lacking}. Received: file={path}, arrays={sorted(names)}. "
            f"Save it with {WANTED}"
        )
    for name in (*OTHER_NAMES, NAMES):  # the last one counts
        if name in names and (name == NAMES or _array(archive, name, path).dtype.kind in "SU"):
            found[NAMES] = name
    return found


def _by_name(names: list[str], path: Path) -> dict[str, str]:
    """Read the names: `x_train`, `train_images`, `ImagesTrain`, `images` with `labels`."""
    found: dict[str, str] = {}
    for name in names:
        match = KEY.fullmatch(re.sub("[^a-z0-9]", "", name.lower()))
        if match is None or (match["before"] and match["after"]):
            continue
        role = "x" if match["role"].startswith(("x", "im", "da")) else "y"
        part = match["before"] or match["after"] or ""
        part = next((one for one in PARTS if one in part), "")
        key = f"{role}_{part}"
        if key in found and found[key] != key and name != key:
            raise DataError(
                f"two arrays may be {key.rstrip('_')}. Received: file={path}, "
                f"arrays={found[key]}, {name}. Leave one of them, or call it {key.rstrip('_')}"
            )
        found[key] = key if key in (name, found.get(key)) else name
    alone = {key: found.pop(key) for key in ("x_", "y_") if key in found}
    if not {"x_train", "y_train"} & set(found):
        found |= {f"{key}train": name for key, name in alone.items()}
    whole = {part for part in PARTS if {f"x_{part}", f"y_{part}"} <= set(found)}
    return {key: name for key, name in found.items() if key[2:] in whole}


def _in_order(names: list[str]) -> list[str]:
    """`arr_10` after `arr_9`; the others as they are."""
    places = {name: int(name[4:]) for name in names if re.fullmatch(r"arr_\d+", name)}
    return sorted(names, key=lambda name: places.get(name, -1))


def _by_shape(found: dict[str, Array]) -> dict[str, str]:
    """Images have three or four axes, labels fewer; what is not clear stays away."""
    kinds = "".join("x" if array.ndim > 2 else "y" for array in found.values())
    names, sizes = list(found), [len(array) if array.ndim else 0 for array in found.values()]
    if sorted(kinds) == ["x", "y"] and sizes[0] == sizes[1]:
        return {"x_train": names[kinds.index("x")], "y_train": names[kinds.index("y")]}
    pairs = {"xyxy": ((0, 1), (2, 3)), "xxyy": ((0, 2), (1, 3))}.get(kinds)
    unnamed = all(name.startswith("arr_") for name in names)
    if not pairs or not unnamed or any(sizes[x] != sizes[y] for x, y in pairs):
        return {}
    return {
        f"{role}_{part}": names[place]
        for part, pair in zip(("train", "test"), pairs, strict=True)
        for role, place in zip("xy", pair, strict=True)
    }
