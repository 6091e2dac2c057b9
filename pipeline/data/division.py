"""Division of a data set into train, val and test, every class in proportion."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pipeline.data.cache import Spans
from pipeline.errors import DataError

SHOWN = 10  # classes that an error names

Rows = npt.NDArray[np.int64]


def divide(
    labels: npt.NDArray[np.int32],
    class_names: tuple[str, ...],
    spans: Spans,
    fractions: Mapping[str, float],
    seed: int,
    source: str,
) -> dict[str, Rows]:
    """Divide a data set.

    Args:
        labels: Of all images, `[N]`.
        class_names: Of all classes.
        spans: The parts that the source itself has; they stay as they are.
        fractions: Of the train images, the share that goes to "test" and to "val" where the source
            has no such part.
        seed: Decides which images go where.
        source: What errors call the data set.

    Returns:
        The sorted rows of "train", "val" and "test".

    Raises:
        DataError: a class has too few images to be in every part.
    """
    own = spans or {"train": (0, len(labels))}
    rows: dict[str, Rows] = {part: np.arange(*span) for part, span in own.items()}
    lacking = [part for part in ("test", "val") if part not in rows]
    _check_classes(labels, class_names, rows, len(lacking) + 1, source)
    rng = np.random.default_rng(seed)
    total = len(rows["train"])
    for left, part in zip(range(len(lacking), 0, -1), lacking, strict=True):
        wanted = round(fractions[part] * total)
        rows[part] = _hold_out(labels, rows["train"], wanted, left, rng)
        rows["train"] = np.setdiff1d(rows["train"], rows[part])
    return rows


def _check_classes(
    labels: npt.NDArray[np.int32],
    class_names: tuple[str, ...],
    rows: dict[str, Rows],
    needed: int,
    source: str,
) -> None:
    """Raise a DataError unless train has `needed` images of every class that occurs at all."""
    if len(class_names) < 2 or not len(rows["train"]):
        raise DataError(
            f"too little to learn from. Received: source={source}, classes={len(class_names)}, "
            f"train images={len(rows['train'])}. Give images of two classes or more"
        )
    in_train = np.bincount(labels[rows["train"]], minlength=len(class_names))
    anywhere = np.bincount(labels, minlength=len(class_names))
    few = np.flatnonzero((in_train < needed) & (anywhere > 0))
    if len(few):
        counts = {class_names[label]: int(in_train[label]) for label in few[:SHOWN]}
        more = f" and {len(few) - SHOWN} more classes" if len(few) > SHOWN else ""
        raise DataError(
            f"too few images to give every part one of each class. Received: source={source}, "
            f"images={counts}{more}. Give at least {needed} of each class, or remove the class"
        )


def _hold_out(
    labels: npt.NDArray[np.int32],
    rows: Rows,
    wanted: int,
    keep: int,
    rng: np.random.Generator,
) -> Rows:
    """Choose about `wanted` of `rows`, from every class its share.

    Shares are rounded by largest remainder; every class gives at least one image and keeps at
    least `keep`. (scikit-learn's stratified splits promise neither for a small class.)
    """
    classes, counts = np.unique(labels[rows], return_counts=True)
    share = counts * (wanted / len(rows))
    take = np.clip(np.floor(share).astype(np.int64), 1, counts - keep)
    by_remainder = np.argsort(take - share, kind="stable")
    spare = [place for place in by_remainder if take[place] < counts[place] - keep]
    take[spare[: max(wanted - int(take.sum()), 0)]] += 1
    chosen = [
        rng.permutation(rows[labels[rows] == label])[:count]
        for label, count in zip(classes, take, strict=True)
    ]
    return np.sort(np.concatenate(chosen))
