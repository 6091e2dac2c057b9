"""Named data sets -> train, val and test images, in memory maps of uint8 arrays.

Sources:  digits | tfds:NAME[:VERSION] | folder:PATH | npz:PATH, one module each.
"""

import hashlib
import importlib
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.data import cache
from pipeline.data.cache import Source, Spans
from pipeline.errors import DataError
from pipeline.system.files import fingerprint

CHANCE = 1.2  # an accuracy up to this times the share of the largest class is chance

FORMS = {  # kind (and module) -> how a recipe writes it
    "digits": "digits",
    "tfds": "tfds:NAME[:VERSION]",
    "folder": "folder:PATH",
    "npz": "npz:PATH",
}

Rows = npt.NDArray[np.int64]
log = logging.getLogger(__name__)


class DataConfig(BaseModel):
    """The `data:` section of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(
        default="digits", description="digits, tfds:NAME[:VERSION], folder:PATH, npz:PATH"
    )
    image_size: int | None = Field(
        default=None, ge=8, description="Pixels per side, square; none: the source's own size"
    )
    val_fraction: float = Field(
        default=0.15,
        gt=0,
        le=0.5,
        description="Share for validation, where the source has no such part of its own",
    )
    test_fraction: float = Field(
        default=0.2,
        gt=0,
        le=0.5,
        description="Share for testing, where the source has no such part of its own",
    )
    data_dir: str | None = Field(
        default=None, description="Where tensorflow-datasets keeps prepared sets; none: its default"
    )

    @model_validator(mode="before")
    @classmethod
    def _source(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _leaves_something(self) -> "DataConfig":
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                "nothing would be left to train on. Received: "
                f"val_fraction={self.val_fraction}, test_fraction={self.test_fraction}. "
                "Choose fractions whose sum is below 1"
            )
        return self


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set; `images` are those of ALL parts, `index` says which belong here."""

    images: npt.NDArray[Any]  # uint8 [N, H, W, C], a read-only memory map; or features
    labels: npt.NDArray[np.int32]  # [n]
    index: Rows  # [n] rows of `images`, sorted

    def __len__(self) -> int:
        return len(self.index)

    def __reduce__(self) -> Any:
        """Pickle a memory map as the name of its file: other processes map it as well."""
        path = getattr(self.images, "filename", None)
        if path is None:
            return Split, (self.images, self.labels, self.index)
        return _mapped, (path, self.labels, self.index)


def _mapped(path: str, labels: npt.NDArray[np.int32], index: Rows) -> Split:
    return Split(np.load(path, mmap_mode="r"), labels, index)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set, divided; `fingerprint` covers all pixels, labels and the division."""

    name: str
    class_names: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    fingerprint: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every image."""
        height, width, channels = self.train.images.shape[1:]
        return int(height), int(width), int(channels)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)


def parse(source: str) -> tuple[str, str]:
    """Take a source apart; says nothing about whether it exists.

    >>> parse("tfds:mnist:3.0.1")
    ('tfds', 'mnist:3.0.1')
    """
    kind, colon, rest = source.partition(":")
    if kind not in FORMS or bool(colon) != (":" in FORMS[kind]) or bool(rest) != bool(colon):
        raise DataError(
            f"no such data source. Received: source={source!r}. "
            f"Write one of {', '.join(FORMS.values())}"
        )
    return kind, rest


def load(config: DataConfig, seed: int) -> Dataset:
    """Find, decode (once) and divide a data set.

    Args:
        config: what to load and how to divide it.
        seed: decides which images go where; parts that the source itself has stay as they are.

    Raises:
        DataError: if the source is not there, or holds what cannot be used.
    """
    kind, rest = parse(config.source)
    module = importlib.import_module(f"pipeline.data.sources.{kind}")
    source: Source = module.find(rest, config.image_size, config.data_dir)
    folder = cache.folder_of(source, config.image_size)
    found = cache.read(folder)
    if found is None:
        contents = source.open()
        # What cannot be divided is not worth decoding.
        _divide(contents.labels, contents.class_names, contents.spans, config, seed)
        found = cache.write(folder, contents, config.source)
    rows = _divide(found.labels, found.class_names, found.spans, config, seed)
    parts = {part: Split(found.images, found.labels[at], at) for part, at in rows.items()}
    hashes = {part: hashlib.sha256(at.tobytes()).hexdigest() for part, at in rows.items()}
    whole = fingerprint(found.fingerprint, hashes)
    dataset = Dataset(config.source, found.class_names, **parts, fingerprint=whole)
    log.info(
        "%s: %d train, %d val, %d test images of %s, %d classes",
        *(config.source, len(dataset.train), len(dataset.val), len(dataset.test)),
        *("x".join(str(side) for side in dataset.image_shape), dataset.num_classes),
    )
    return dataset


def _divide(
    labels: npt.NDArray[np.int32],
    class_names: tuple[str, ...],
    spans: Spans,
    config: DataConfig,
    seed: int,
) -> dict[str, Rows]:
    """Return the sorted rows of train, val and test; what the source lacks is taken from train."""
    own = spans or {"train": (0, len(labels))}
    rows: dict[str, Rows] = {part: np.arange(*span) for part, span in own.items()}
    lacking = [part for part in ("test", "val") if part not in rows]
    _check_classes(labels, class_names, rows, len(lacking) + 1, config.source)
    rng = np.random.default_rng(seed)
    total = len(rows["train"])
    fractions = {"test": config.test_fraction, "val": config.val_fraction}
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
        counts = {class_names[label]: int(in_train[label]) for label in few[:10]}
        raise DataError(
            f"too few images to give every part one of each class. Received: source={source}, "
            f"images={counts}. Give at least {needed} of each class, or remove the class"
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


def chance(val: Split) -> float:
    """The accuracy that a network has to exceed to have learned anything.

    1.2 times the share of the largest class; where that is most of the images, half of the way
    from it to 1.
    """
    share = float(np.bincount(val.labels).max() / len(val))
    return min(CHANCE * share, (1 + share) / 2)
