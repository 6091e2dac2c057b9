"""Pictures that cannot be read: which ones, why, and what is said of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import UnidentifiedImageError

from pipeline.errors import DataError

SHOWN = 5  # files that a line names
SKIP = "in a recipe, data.skip_unreadable=true leaves such images out"


@dataclass(frozen=True)
class Unreadable:
    """Stands in the place of an image: what its file is called, and why it cannot be read."""

    name: str
    why: str


def of(name: str, file: Path | bytes, error: BaseException) -> Unreadable:
    """Describe a failure of reading a file, or the bytes of one."""
    return Unreadable(name, _why(file, error))


def _why(file: Path | bytes, error: BaseException) -> str:
    if isinstance(file, Path) and not file.exists():
        return "there is no such file"
    if isinstance(file, Path) and file.is_dir():
        return "it is a folder"
    if not (file if isinstance(file, bytes) else file.stat().st_size):
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return "it is no picture of a known kind, whatever its name says"
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def refusal(found: Sequence[Unreadable]) -> DataError:
    """The error that names them."""
    if len(found) == 1:
        return DataError(
            f"an image cannot be read: {found[0].why}. Received: file={found[0].name}. "
            f"Repair or remove it; {SKIP}"
        )
    return DataError(
        f"{len(found)} images cannot be read. Received: files={_listed(found)}. "
        f"Repair or remove them; {SKIP}"
    )


def skipped(found: Sequence[Unreadable]) -> str:
    """The line on those that are left out because the user asked for it."""
    which = "1 image" if len(found) == 1 else f"{len(found)} images"
    return f"left out {which} that cannot be read: {_listed(found)}"


def _listed(found: Sequence[Unreadable]) -> str:
    shown = ", ".join(f"{one.name} ({one.why})" for one in found[:SHOWN])
    return shown + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")


def check_classes(
    before: npt.NDArray[np.int32],
    after: npt.NDArray[np.int32],
    class_names: Sequence[str],
    found: Sequence[Unreadable],
) -> None:
    """Raise a DataError if a class had images, and none of them can be read.

    Args:
        before: The labels of all images.
        after: The labels of those that can be read.
        class_names: Of all classes.
        found: Those that cannot be read.
    """
    counts = [np.bincount(labels, minlength=len(class_names)) for labels in (before, after)]
    lost = np.flatnonzero((counts[0] > 0) & (counts[1] == 0)).tolist()
    gone = [class_names[label] for label in lost]
    if gone:
        raise DataError(
            f"no image can be read of the class {', '.join(gone[:SHOWN])}. Received: "
            f"files={_listed(found)}. Repair them, or remove the class"
        )
