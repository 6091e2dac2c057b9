"""Labels in the forms that people keep them in -> numbers 0..K-1, and the names of the classes.

Whole numbers, floats that are whole, true and false, text, [N] or [N, 1], or one-hot [N, K].
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError

SHOWN = 10  # labels or names in a message

Array = npt.NDArray[Any]
Numbers = npt.NDArray[np.int32]


def numbered(
    arrays: Mapping[str, Array], names: Any, path: str, notes: list[str]
) -> tuple[list[Numbers], tuple[str, ...]]:
    """Number the classes from 0.

    Args:
        arrays: The labels by name; the first ones are those to learn from.
        names: Of all classes in order, or None.
        path: What errors call the file.
        notes: Gets a line for whatever is converted.

    Returns:
        The labels of every array as int32 [N], and the names of the classes.

    Raises:
        DataError: They are no labels, or do not fit to each other or to the names.
    """
    flat = {key: _flat(array, key, path, notes) for key, array in arrays.items()}
    (first, train), *rest = flat.items()
    for key, other in rest:
        if (train.dtype.kind == "U") != (other.dtype.kind == "U"):
            raise DataError(
                f"{first} does not hold labels of the kind of {key}. Received: "
                f"{first}={about(arrays[first])}, {key}={about(arrays[key])}, file={path}. "
                "Give text in all parts, or numbers in all"
            )
    given = None if names is None else [_text(name) for name in np.asarray(names).ravel().tolist()]
    known = sorted(set(train.tolist()), key=_by_value(train))
    order, class_names = _classes(known, given, first, path, notes)
    for key, other in rest:
        if more := sorted(set(other.tolist()) - set(known)):
            raise DataError(
                f"{key} holds labels that {first} does not. Received: labels={more[:SHOWN]}, "
                f"file={path}. Add such images to the train part, or remove them from the other"
            )
    number = {label: place for place, label in enumerate(order)}
    made = [np.array([number[one] for one in part.tolist()], np.int32) for part in flat.values()]
    return made, class_names


def _by_value(labels: Array) -> Any:
    """What to sort by: text of whole numbers by their values, as "10" comes after "9"."""
    if labels.dtype.kind == "U" and all(label.isdecimal() for label in set(labels.tolist())):
        return int
    return None


def _classes(
    known: list[Any], given: Sequence[str] | None, key: str, path: str, notes: list[str]
) -> tuple[list[Any], tuple[str, ...]]:
    """The labels in the order of the classes, and the names of these."""
    text = bool(known) and isinstance(known[0], str)
    if given is not None:
        if text and sorted(given) == sorted(known):
            return list(given), tuple(given)
        start = known[0] if known and not text else 0
        whole = list(range(start, start + len(given)))
        if known != whole or start not in (0, 1):
            raise DataError(_mismatch(known, given, key, path))
        if start:
            notes.append(f"{key}: labels 1 to {len(given)} become 0 to {len(given) - 1}")
        return known, tuple(given)
    if text:
        by = "value" if _by_value(np.array(known)) else "name"
        notes.append(f"{key}: labels are text, which names {len(known)} classes, sorted by {by}")
    elif known and known[0] == 1 and known == list(range(1, len(known) + 1)):
        notes.append(
            f"{key}: labels 1 to {len(known)} become 0 to {len(known) - 1}; the classes keep "
            "their numbers as names"
        )
    elif known != list(range(len(known))):
        missing = sorted(set(range(known[-1] + 1)) - set(known)) if known[-1] < 10**6 else "many"
        notes.append(
            f"{key}: labels are not 0..K-1, missing={missing[:SHOWN]}; the {len(known)} classes "
            "that there are keep their numbers as names"
        )
    return known, tuple(map(str, known))


def _mismatch(known: list[Any], given: Sequence[str], key: str, path: str) -> str:
    if known and isinstance(known[0], str):
        without = sorted(set(known) ^ set(given))[:SHOWN]
        return (
            f"the labels of {key} and the class names are not the same. Received: only in one of "
            f"them={without}, file={path}. Give every class one name, and images"
        )
    largest = max(known, default=-1)
    missing = sorted(set(range(max(min(largest + 1, 10**6), len(given)))) - set(known))
    return (
        f"the labels of {key} are not 0..K-1. Received: classes={len(given)}, largest={largest}, "
        f"missing={missing[:SHOWN]}, file={path}. Number the classes without gaps, and give "
        "class_names one name each"
    )


def _flat(array: Array, key: str, path: str, notes: list[str]) -> Array:
    """Return labels as text or int64, [N]."""
    labels = _plain(array)
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.ndim == 2 and _is_one_hot(labels):
        labels = labels.argmax(axis=1)
    if labels.ndim == 1 and labels.dtype.kind == "b":
        notes.append(f"{key}: labels are false and true, which become 0 and 1")
        labels = labels.astype(np.int64)
    if labels.ndim == 1 and labels.dtype.kind == "f" and _are_whole(labels):
        notes.append(f"{key}: labels are {labels.dtype}, all whole numbers, and taken as such")
        labels = labels.astype(np.int64)
    if labels.ndim == 1 and labels.dtype.kind == "S":
        labels = np.array([_text(label) for label in labels.tolist()])
    if labels.ndim != 1 or labels.dtype.kind not in "iuU":
        raise DataError(
            f"{key} does not hold labels. Received: {key}={about(array)}, file={path}. "
            "Give whole numbers or text of the shape [N] or [N, 1], or one-hot rows [N, K]"
        )
    if labels.dtype.kind != "U" and labels.size and not 0 <= labels.min() <= labels.max() < 2**31:
        raise DataError(
            f"{key} holds a label out of range. Received: smallest={labels.min()}, "
            f"largest={labels.max()}, file={path}. Number the classes 0..K-1"
        )
    return labels


def _plain(array: Array) -> Array:
    """An array of Python objects as one of text or numbers, if it holds nothing else."""
    if array.dtype != object:
        return array
    whole = np.array(array.tolist())
    same = len({type(one) for one in array.ravel().tolist()}) == 1  # not text beside numbers
    return whole if same and whole.dtype.kind in "biufSU" else array


def _are_whole(labels: Array) -> bool:
    return bool(np.isfinite(labels).all() and (labels == np.rint(labels)).all())


def _is_one_hot(array: Array) -> bool:
    if array.dtype.kind not in "biuf":
        return False
    return bool(np.isin(array, (0, 1)).all() and (array.sum(axis=1) == 1).all())


def _text(name: Any) -> str:
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)


def about(array: Array) -> str:
    """Type and shape of an array, for messages."""
    return f"{array.dtype}{list(array.shape)}"
