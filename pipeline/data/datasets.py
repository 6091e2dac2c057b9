"""Named data sets -> train, val and test images, in memory maps of uint8 arrays.

A data set is written `SOURCE` or `SOURCE:REST`, where SOURCE is a module of `data/sources/`.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from pipeline.budget import Count
from pipeline.data import cache, class_numbers, inspection, opening
from pipeline.data.cache import Contents, Decoded
from pipeline.data.class_names import printable
from pipeline.data.division import Rows, divide
from pipeline.data.filling import KEEPING, Keeping
from pipeline.data.packed import Images
from pipeline.data.pictures import Channels, Form
from pipeline.data.places import sourced
from pipeline.system.files import fingerprint

CHANCE = 1.2  # an accuracy up to this times the share of the largest class is chance
VAL_FRACTION, VAL_IMAGES = 0.15, 5000  # of the training images, and at most
DEFAULT = Form()
Side = Annotated[int, Field(ge=8)]  # pixels
ClassName = Annotated[str, BeforeValidator(str)]  # 7 in YAML is the folder named 7

log = logging.getLogger("flopsmith")


class DataConfig(BaseModel):
    """The `data:` section of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Annotated[str, AfterValidator(sourced)] = Field(
        default="digits",
        description="Where the images are: folder:PATH, csv:FILE, parquet:PATH, npz:PATH, "
        "tfds:NAME[:VERSION] or digits",
    )
    image_size: Side | tuple[Side, Side] | None = Field(
        default=None,
        description="Pixels per side, or [height, width]; none: the source's own size",
    )
    channels: Channels | None = Field(
        default=None,
        description="1: grey, 3: colour, whatever the pictures are; none: as they are",
    )
    fit: Literal["auto", "crop", "pad", "stretch"] = Field(
        default="auto",
        description="What becomes of pictures of other proportions: crop the centre, pad with "
        "black, stretch as Keras does; auto: crop, or what a loaded model was trained with",
    )
    classes: tuple[ClassName, ...] | None = Field(
        default=None, description="All class names in the order of their numbers; none: sorted"
    )
    val_fraction: float | None = Field(
        default=None,
        gt=0,
        le=0.5,
        description="Fraction of the images for validation, if the source has no such part; none: "
        "0.15, but no more than 5,000 images",
    )
    test_fraction: float = Field(
        default=0.2,
        gt=0,
        le=0.5,
        description="Fraction of the images for testing, if the source has no such part",
    )
    data_dir: str | None = Field(
        default=None,
        description="Where tensorflow-datasets keeps prepared data sets; none: its default",
    )
    skip_unreadable: bool = Field(
        default=False,
        description="Leave out pictures that cannot be read, and say which; false: an error",
    )
    cache: Count = Field(
        default=KEEPING.limit_bytes,
        ge=0,
        description="Most bytes of the decoded images on disk, such as 4G; what is more is kept "
        "compressed without loss, and beyond that decoded from the original files each time",
    )

    @model_validator(mode="before")
    @classmethod
    def _source(cls, value: Any) -> Any:
        given = {"source": value} if isinstance(value, str) else value
        source = given.get("source") if isinstance(given, dict) else None
        if isinstance(source, str) and (shown := printable(source)) != source:
            raise ValueError(
                f"the path is no UTF-8, or holds control characters. Received: source={shown}. "
                "Rename the folder, or give a link to it"
            )
        return given

    @property
    def form(self) -> Form:
        """The form of the images that is asked for."""
        size = self.image_size
        side = (size, size) if isinstance(size, int) else size
        return Form(side, self.channels, "crop" if self.fit == "auto" else self.fit)

    @property
    def keeping(self) -> Keeping:
        """How the decoded images are to be kept."""
        return Keeping(self.form, self.cache, self.skip_unreadable)

    @model_validator(mode="after")
    def _leaves_something(self) -> "DataConfig":
        val_fraction = self.val_fraction or VAL_FRACTION
        if val_fraction + self.test_fraction >= 1:
            raise ValueError(
                "nothing would be left to train on. Received: "
                f"val_fraction={val_fraction}, test_fraction={self.test_fraction}. "
                "Choose fractions whose sum is below 1"
            )
        return self


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set; `images` are those of ALL parts, `index` says which belong here."""

    images: Images  # uint8 [N, H, W, C]: a read-only memory map, or compressed; or features
    labels: npt.NDArray[np.int32]  # [n]
    index: Rows  # [n] rows of `images`, sorted

    def __len__(self) -> int:
        return len(self.index)

    def arrays(self) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
        """Copy the images of this part into memory, `[n, H, W, C]`, with their labels."""
        return np.asarray(self.images[self.index]), self.labels

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
    """A data set, divided; `fingerprint` covers all pixels, labels and the division.

    `notes` say what was left out, converted or decided when it was opened. `form` is how its images
    were made; whoever makes an image for the same network does it alike.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    fingerprint: str
    notes: tuple[str, ...] = ()
    form: Form = DEFAULT

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every image."""
        height, width, channels = self.train.images.shape[1:]
        return int(height), int(width), int(channels)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)


def load(config: DataConfig, seed: int) -> Dataset:
    """Find, decode (once) and divide a data set.

    Args:
        config: What to load and how to divide it.
        seed: Decides which images go where; parts that the source itself has stay as they are.

    Raises:
        DataError: The source does not exist, or holds images or labels that cannot be used.
    """
    source = opening.find(config.source, config.form, config.data_dir)
    folder = cache.folder_of(source, config.form, config.skip_unreadable)
    found = cache.read(folder, config.cache)
    if found is None:
        contents = opening.opened(source, config.source, config.skip_unreadable)
        # Decoding may take long: fail before it if the classes cannot be divided.
        _divided(contents, config, seed)
        found = cache.write(folder, contents, config.source, config.keeping)
    return _dataset(found, config, seed, source.notes)


def sample(
    config: DataConfig, seed: int, count: int, part: str = "val"
) -> tuple[Split, tuple[str, ...]]:
    """Take some images of a data set, without decoding the others.

    Args:
        config: What to load, in which form, and how to divide it.
        seed: Decides which images belong to the part, as in `load`, and which of them are taken.
        count: Number of images; all of the part, if it has fewer.
        part: "train", "val" or "test".

    Returns:
        The images with their labels, and the names of all classes. Pictures that cannot be read and
        are to be left out do not count; they are known only once they are decoded, so that the part
        may be divided otherwise than by `load`.

    Raises:
        DataError: The source does not exist, or holds images or labels that cannot be used.
    """
    source = opening.find(config.source, config.form, config.data_dir)
    folder = cache.folder_of(source, config.form, config.skip_unreadable)
    found = cache.read(folder, config.cache) or opening.opened(
        source, config.source, config.skip_unreadable
    )
    whole = rows = _divided(found, config, seed)[part]
    if count < len(rows):
        rows = np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))
    names, numbers = class_numbers.ordered(found.class_names, config.classes, config.source)
    if isinstance(found, Decoded):
        return Split(found.images, numbers[found.labels[rows]], rows), names
    images, read = opening.images(found, rows, whole, config.skip_unreadable)
    return Split(images, numbers[found.labels[read]], np.arange(len(read))), names


def from_arrays(arrays: Mapping[str, npt.NDArray[Any]], config: DataConfig, seed: int) -> Dataset:
    """Divide images that are in memory; they are kept there as uint8.

    Args:
        arrays: `x_train`, `y_train`, perhaps `x_test` with `y_test`, perhaps `class_names`, as in a
            file of the source `npz`.
        config: How to divide them; its `source` is what errors and logs call them.
        seed: Decides which images go where.

    Raises:
        DataError: The arrays do not hold images and labels.
    """
    from pipeline.data.arrays import read

    contents = opening.named(read(arrays, config.source, config.form))
    rows = np.arange(len(contents.labels))
    images, _ = opening.images(contents, rows, rows, False)
    notes = (*contents.notes, *inspection.seen(images))
    digest = hashlib.sha256(images.tobytes()).hexdigest()
    mark = fingerprint(digest, contents.labels.tolist(), contents.class_names, contents.spans)
    whole = Decoded(
        *(contents.class_names, contents.labels, images, contents.spans, mark),
        *(notes, contents.levels),
    )
    return _dataset(whole, config, seed)


def _dataset(found: Decoded, config: DataConfig, seed: int, more: tuple[str, ...] = ()) -> Dataset:
    rows = _divided(found, config, seed)
    names, numbers = class_numbers.ordered(found.class_names, config.classes, config.source)
    parts = {part: Split(found.images, numbers[found.labels[at]], at) for part, at in rows.items()}
    hashes = {part: hashlib.sha256(at.tobytes()).hexdigest() for part, at in rows.items()}
    mark = fingerprint(found.fingerprint, hashes, *([names] if config.classes else []))
    notes = tuple(map(printable, (*more, *found.notes)))
    height, width, channels = found.images.shape[1:]
    form = replace(config.form, size=(height, width), channels=channels, levels=found.levels)
    dataset = Dataset(config.source, names, **parts, fingerprint=mark, notes=notes, form=form)
    for note in notes:
        log.info("%s: %s", config.source, note)
    whole = names, numbers[found.labels], {part: len(at) for part, at in rows.items()}
    log.info("%s: %s", config.source, inspection.overview(*whole, dataset.image_shape, form.fit))
    return dataset


def _divided(found: Contents | Decoded, config: DataConfig, seed: int) -> dict[str, Rows]:
    start, end = found.spans.get("train", (0, len(found.labels)))
    val = config.val_fraction or min(VAL_FRACTION, VAL_IMAGES / max(end - start, 1))
    fractions = {"test": config.test_fraction, "val": val}
    return divide(found.labels, found.class_names, found.spans, fractions, seed, config.source)


def chance(val: Split) -> float:
    """What a network has to exceed: 1.2 times the largest class, at most half of the way to 1."""
    share = float(np.bincount(val.labels).max() / len(val))
    return min(CHANCE * share, (1 + share) / 2)
