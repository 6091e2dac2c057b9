"""Data sets: by the name that a recipe would use, or as arrays."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline import stage
from pipeline.budget import Budget
from pipeline.data import datasets
from pipeline.data.datasets import DataConfig, Dataset
from pipeline.data.filling import KEEPING
from pipeline.errors import DataError
from pipeline.stage import StageConfig

Arrays = tuple[Any, Any] | tuple[tuple[Any, Any], tuple[Any, Any]]
Data = str | Dataset | Arrays  # what every function takes as its `data`


def load_data(  # noqa: PLR0913 - the settings of a recipe
    source: str | Arrays,
    *,
    image_size: int | tuple[int, int] | None = None,
    channels: Literal[1, 3] | None = None,
    fit: Literal["auto", "crop", "pad", "stretch"] = "auto",
    val_fraction: float | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    data_dir: str | None = None,
    skip_unreadable: bool = False,
    cache: int | str = KEEPING.limit_bytes,
) -> Dataset:
    """Load images and divide them into `train`, `val` and `test`.

    Args:
        source: `"digits"`, `"folder:PATH"`, `"csv:FILE"`, `"parquet:PATH"`, `"npz:PATH"` or
            `"tfds:NAME[:VERSION]"`; or arrays: `(images, labels)`, or
            `((images, labels), (test_images, test_labels))` as `keras.datasets` returns them.
            Images are `[N, H, W]`, `[N, H, W, C]` or `[N, C, H, W]`, in 0..255 or as floats in 0..1
            or -1..1; labels are numbers, text, or one-hot. What is converted is in `notes`.
        image_size: Pixels per side, or (height, width); None: the images' own size.
        channels: 1 converts to grey and 3 to RGB; None: as the images are.
        fit: What becomes of images of other proportions: "crop" cuts the centre out, "pad" adds
            black, "stretch" changes the proportions as Keras does; "auto" is "crop".
        val_fraction: Fraction of the images for validation, if the source has no such part; None:
            0.15, but no more than 5,000 images.
        test_fraction: Fraction of the images for testing, if the source has no such part.
        seed: Decides which images go where.
        data_dir: Where tensorflow-datasets keeps prepared data sets; None: its default.
        skip_unreadable: Leave out pictures that cannot be read; False: an error names them.
        cache: Most bytes of the decoded images on disk, such as `"4G"`; what is more is compressed
            without loss, and beyond that decoded anew each time.

    Returns:
        The data set, with `train`, `val`, `test`, `class_names`, `image_shape` and `num_classes`.

    Raises:
        DataError: The source does not exist, or holds images or labels that cannot be used.

    Example:
        >>> data = load_data("digits")
        >>> data.image_shape, data.num_classes
        ((32, 32, 1), 10)
    """
    config = DataConfig(
        source=source if isinstance(source, str) else "arrays",
        image_size=image_size,
        channels=channels,
        fit=fit,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        data_dir=data_dir,
        skip_unreadable=skip_unreadable,
        cache=cache,
    )
    if isinstance(source, str):
        return datasets.load(config, seed)
    return datasets.from_arrays(_named(source), config, seed)


def dataset(data: Data, seed: int) -> Dataset:
    """The data set itself, loaded with the defaults of `load_data` unless it is one already."""
    return data if isinstance(data, Dataset) else load_data(data, seed=seed)


def for_model(
    data: Data, model: StageConfig, path: Path, seed: int
) -> tuple[Dataset, DataConfig | None]:
    """The data set in the form in which a trained model takes its pictures.

    Args:
        data: What is loaded already stays as it is.
        model: Settings of the stage `load`, with the model.
        path: Of the model.
        seed: Of the division.

    Returns:
        The data set, and what it was read as; None: images in memory.
    """
    if isinstance(data, Dataset):
        return data, None
    if isinstance(data, str):
        config = stage.load("load").images(model, DataConfig(source=data), seed, Budget(), ())
        return datasets.load(config, seed), config
    from pipeline.pretrained import fitting, sources

    own = fitting.own_shape(sources.load(str(path)).model)
    config = fitting.asked(own, DataConfig(source="arrays", fit="stretch"))
    return datasets.from_arrays(_named(data), config, seed), None


def _named(arrays: Arrays) -> Mapping[str, Any]:
    """Arrays by the names that a file of the source `npz` has for them."""
    pairs = arrays if isinstance(arrays[0], tuple | list) else (arrays,)
    if len(arrays) != 2 or any(len(pair) != 2 for pair in pairs):
        raise DataError(
            f"data is not a pair. Received: {type(arrays).__name__} of {len(arrays)}. Give "
            "(images, labels), or ((images, labels), (test_images, test_labels))"
        )
    named: dict[str, Any] = {}
    for part, (images, labels) in zip(("train", "test"), pairs, strict=False):
        named |= {f"x_{part}": np.asarray(images), f"y_{part}": np.asarray(labels)}
    return named
