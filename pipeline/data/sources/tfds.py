"""`tfds:NAME[:VERSION]`: a tensorflow-datasets set with the features `image` and `label`."""

import contextlib
import difflib
import io
import logging
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.data import depth, inspection, pictures
from pipeline.data.cache import Contents, Source, Spans
from pipeline.data.depth import Levels
from pipeline.data.pictures import Form
from pipeline.data.unreadable import Unreadable
from pipeline.errors import DataError

FORM = "tfds:NAME[:VERSION]"
NAME = re.compile(r"\w+(/[\w.-]+)?(:[\d.*]+)?")  # excludes other catalogues: "huggingface:"
PARTS = ("train", "test", "validation")
RETRIES = 6  # of a download, 13 seconds in all; the library's own 10 take minutes without a network

log = logging.getLogger("flopsmith")


def find(rest: str, form: Form, data_dir: str | None) -> Source:
    """Find the set `rest` in `data_dir`, or download and prepare it there."""
    place = str(Path(data_dir).expanduser()) if data_dir else None
    builder = prepare(lambda: _builder(rest, place), f"tfds:{rest}")
    return source_of(builder, f"tfds:{rest}", form)


def source_of(builder: Any, name: str, form: Form) -> Source:
    """Describe a prepared set."""
    splits = {
        key: [split.num_examples, split.num_bytes] for key, split in builder.info.splits.items()
    }
    identity = ("tfds", builder.info.full_name, splits)
    return Source(identity, lambda: contents(builder, name, form))


def prepare(make: Callable[[], Any], name: str) -> Any:
    """Return a builder whose data are on disk; download and prepare them if they are not."""
    import tensorflow_datasets
    from tensorflow_datasets.core.download import downloader

    builder = make()
    _check_features(builder, name)
    if builder.data_path.exists():
        return builder
    log.info("%s: preparing it in %s", name, builder.data_path)
    downloader.MAX_RETRIES = RETRIES
    tensorflow_datasets.display_progress_bar(sys.stderr.isatty())
    settings = tensorflow_datasets.download.DownloadConfig(try_download_gcs=False)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what is logged above
            builder.download_and_prepare(download_config=settings)
    except _failures() as error:
        builder = make()
        if not builder.data_path.exists():  # nor has another process prepared it meanwhile
            raise DataError(
                f"the set cannot be downloaded or prepared: {_line(error)}. Received: "
                f"source={name}, folder={builder.data_path}. Where there is a network, run "
                f"`tfds build {builder.info.name}`, copy its folder here, and set data_dir"
            ) from error
    return builder


def _failures() -> tuple[type[Exception], ...]:
    """Exceptions that downloading and preparing a set is known to raise."""
    from tensorflow_datasets.core.download import download_manager, extractor, util

    return (
        *(OSError, ValueError, AssertionError, ImportError, RuntimeError, AttributeError),
        util.DownloadError,
        download_manager.NonMatchingChecksumError,
        extractor.ExtractError,
    )


def _builder(rest: str, data_dir: str | None) -> Any:
    """Look a set up by name, in `data_dir` and in the library's catalogue."""
    import tensorflow_datasets

    try:
        if not NAME.fullmatch(rest):
            raise tensorflow_datasets.core.registered.DatasetNotFoundError("no such name")
        return tensorflow_datasets.builder(rest, data_dir=data_dir, try_gcs=False)
    except tensorflow_datasets.core.registered.DatasetNotFoundError as error:
        known = tensorflow_datasets.list_builders(with_community_datasets=False)
        near = difflib.get_close_matches(re.split("[:/]", rest)[0], known)
        raise DataError(
            f"no data set has that name. Received: source=tfds:{rest}, data_dir={data_dir}. "
            + (f"Did you mean {' or '.join(near)}?" if near else "See the tfds catalogue")
        ) from error
    except (AssertionError, ValueError, ImportError) as error:
        raise DataError(
            f"the data set cannot be opened: {_line(error)}. Received: source=tfds:{rest}. "
            "Write it as tfds:NAME, tfds:NAME/CONFIG or tfds:NAME:VERSION"
        ) from error


def _check_features(builder: Any, name: str) -> None:
    """Raise a DataError unless there is one picture and one class per example."""
    import tensorflow_datasets

    found = dict(builder.info.features.items())
    kinds = tensorflow_datasets.features
    image, label = found.get("image"), found.get("label")
    if not isinstance(image, kinds.Image) or not isinstance(label, kinds.ClassLabel):
        held = {key: type(feature).__name__ for key, feature in found.items()}
        raise DataError(
            f"the set is not one for image classification. Received: source={name}, "
            f"features={held}. Choose one with an `image` (Image) and a `label` (ClassLabel)"
        )
    if np.dtype(image.np_dtype) not in (np.uint8, np.uint16):
        raise DataError(
            f"the images are not whole numbers. Received: source={name}, "
            f"dtype={np.dtype(image.np_dtype)}. Choose a set with 8 or 16 bits per value"
        )


def contents(builder: Any, name: str, form: Form) -> Contents:
    """Read all labels, and settle parts and size."""
    labels, left = _labelled(builder, name)
    parts = {"train": "train", "val": "validation", "test": "test"}
    parts = {ours: theirs for ours, theirs in parts.items() if theirs in labels}
    if "test" not in parts and "val" in parts:
        parts["test"] = parts.pop("val")
    if "train" not in parts:  # the set has a single part, whatever its name
        parts = {"train": next(iter(labels))}
    class_names = tuple(builder.info.features["label"].names)
    together = np.concatenate([labels[theirs] for theirs in parts.values()])
    notes = list(left)
    unused = sorted(set(range(len(class_names))) - set(np.unique(together).tolist()))
    if unused:
        notes.append(f"no image of {', '.join(class_names[i] for i in unused)}")
    size = form.size or _size(builder, list(parts.values()), notes)
    own = 1 if builder.info.features["image"].shape[2] == 1 else 3
    channels = form.channels or own
    if channels != own:
        notes.append(inspection.converted(channels))
    levels = form.levels or _levels(builder, list(parts.values()), name, notes)

    def images(rows: Sequence[int] | None) -> Iterator[npt.NDArray[np.uint8] | Unreadable]:
        wanted = None if rows is None else set(rows)
        place = -1
        for theirs in parts.values():
            for row, (data, label) in enumerate(_examples(builder, theirs)):
                place += 1
                if wanted is not None and place not in wanted:
                    continue
                if label != labels[theirs][row]:
                    raise DataError(
                        f"the set changed while it was read. Received: source={name}. Run again"
                    )
                try:
                    yield pictures.decode(io.BytesIO(data), size, channels, form.fit, levels)
                except pictures.UNREADABLE as error:
                    yield Unreadable(f"{name}, split={theirs}, row={row}", _line(error))

    spans = _spans(parts, labels)
    return Contents(
        *(class_names, together, (*size, channels), spans, images), tuple(notes), levels
    )


def _labelled(builder: Any, name: str) -> tuple[dict[str, npt.NDArray[np.int32]], list[str]]:
    """Read the labels of every part that can be used, and note which parts cannot."""
    splits = {key: split for key, split in builder.info.splits.items() if split.num_examples}
    chosen = [key for key in PARTS if key in splits] if "train" in splits else list(splits)
    if "train" not in splits and len(splits) != 1:
        raise DataError(
            f"the set has no train part. Received: source={name}, splits={sorted(splits)}. "
            "Choose a set with a train part"
        )
    labels = {
        key: np.array([label for _, label in _examples(builder, key)], np.int32) for key in chosen
    }
    usable = {key: found for key, found in labels.items() if (found >= 0).all()}
    if not usable or ("train" in labels and "train" not in usable):
        raise DataError(
            f"the train part has images without a label. Received: source={name}. "
            "Choose a set whose images are all labelled"
        )
    left = sorted(set(splits) - set(usable))
    note = f"left out the parts {', '.join(left)} (other use, or no labels)"
    return usable, [note] if left else []


def _size(builder: Any, splits: list[str], notes: list[str]) -> tuple[int, int]:
    """Return (H, W) as the set declares, or as its pictures suggest."""
    height, width, _ = builder.info.features["image"].shape
    if height and width:
        return int(height), int(width)
    headers = [
        pictures.header(io.BytesIO(data))
        for split in splits
        for data, _ in _examples(builder, split)
    ]
    size = pictures.own_size(headers)
    notes.extend(inspection.sizes(headers, size))
    return size


def _levels(builder: Any, splits: list[str], name: str, notes: list[str]) -> Levels | None:
    """What becomes black and white in a set of 16 bits; None for one of 8."""
    if np.dtype(builder.info.features["image"].np_dtype) == np.uint8:
        return None
    found = []
    for split in splits:
        for row, (data, _) in enumerate(_examples(builder, split)):
            with _told(f"{name}, split={split}, row={row}"):
                found.append(depth.extremes(io.BytesIO(data)))
    levels = depth.levels_of(min(low for low, _ in found), max(high for _, high in found))
    notes.append(inspection.scaling(len(found), levels))
    return levels


def _examples(builder: Any, split: str) -> Iterator[tuple[bytes, int]]:
    """Yield the encoded picture and the label of every example, always in the same order."""
    import tensorflow_datasets

    decode = tensorflow_datasets.decode
    wanted = decode.PartialDecoding(
        {"image": True, "label": True}, decoders={"image": decode.SkipDecoding()}
    )
    examples = builder.as_dataset(split=split, shuffle_files=False, decoders=wanted)
    for example in tensorflow_datasets.as_numpy(examples):
        yield example["image"], int(example["label"])


@contextlib.contextmanager
def _told(place: str) -> Iterator[None]:
    """Turn the failure to decode a picture into a DataError that says which one it is."""
    try:
        yield
    except pictures.UNREADABLE as error:
        raise DataError(
            f"an image cannot be read: {_line(error)}. Received: source={place}. "
            "Prepare the set anew"
        ) from error


def _spans(parts: dict[str, str], labels: dict[str, npt.NDArray[np.int32]]) -> Spans:
    """Return first row and row after the last of every part; none for a set of one part."""
    spans: Spans = {}
    first = 0
    for ours, theirs in parts.items():
        spans[ours] = (first, first + len(labels[theirs]))
        first += len(labels[theirs])
    return spans if len(spans) > 1 else {}


def _line(error: BaseException) -> str:
    """Return the first line of a message, without the lists that follow it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = lines[0].rstrip(".") if lines else type(error).__name__
    return textwrap.shorten(line, 240, placeholder=" ...")
