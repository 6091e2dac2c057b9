"""A trained network that is given: fitted to the data, and measured as it came.

What it is worth is measured at its own input, on pictures as it was trained on them: that is what
compression may cost little of, whatever size of images is asked for.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline import artifact, details, objective
from pipeline.data import datasets, pictures
from pipeline.data.datasets import DataConfig, Dataset, Split
from pipeline.graph import walk
from pipeline.graph.rebuild import ImageShape
from pipeline.pretrained import fitting, heads, presentation, sources
from pipeline.pretrained import pixels as values
from pipeline.pretrained.adaptation import adapt, reversible
from pipeline.pretrained.fitting import Classes, Network
from pipeline.pretrained.heads import Head
from pipeline.pretrained.pixels import AS_THEY_ARE, Choice, Pixels
from pipeline.pretrained.presentation import Found, Score
from pipeline.pretrained.sources import Loaded

CHUNK = 100  # images at a time
log = logging.getLogger("flopsmith")


@dataclass(frozen=True)
class Wish:
    """Which network is loaded, and what is known of it."""

    source: str
    head: Head = "auto"
    pixels: Choice = "auto"
    classes: Classes = "data"
    asker: str = "load"  # who wants to know, for the log


@dataclass(frozen=True, eq=False)
class Adapted:
    """A network for the images and classes of the data."""

    model: Any
    new_layers: list[str]  # that have not been trained
    found: Found | None = None  # how it wants its pictures; None: its head is new
    given: details.Given | None = None  # as it came; None: the data have its own size


def form(wish: Wish, data: DataConfig, seed: int) -> DataConfig:
    """The form in which a network wants its pictures, if its head is kept.

    With a new head, and for networks of ImageNet, the size is that of the data.

    Raises:
        ModelError: it cannot be loaded, or takes no such images or classes.
    """
    loaded = sources.load(wish.source, weights=False)
    if loaded.imagenet and wish.head != "keep":
        return data
    walk.graph(loaded.model)  # refuses what is no graph of layers
    one, names = datasets.sample(data, seed, 1)
    shape = fitting.own_shape(loaded.model)
    if not heads.keeps(loaded.model, len(names), wish.head, loaded.imagenet):
        grey = data.channels is None and shape[-1] == 1 != one.images.shape[-1]
        return data.model_copy(update={"channels": 1}) if grey else data
    if loaded.imagenet:
        loaded = sources.load(wish.source)
    return fitting.decided(network(wish, loaded, len(names)), data, seed, wish.classes)


def adapted(
    wish: Wish, loaded: Loaded, dataset: Dataset, read_as: DataConfig | None, seed: int
) -> Adapted:
    """Fit a network to a data set and find the values of pixels that it takes.

    Args:
        wish: What is known of it.
        loaded: The network.
        dataset: Its val and train images decide.
        read_as: What the data set was read as; None: images in memory.
        seed: Of the division of the data.
    """
    shape, classes = dataset.image_shape, dataset.num_classes
    model, new = adapt(loaded.model, shape, classes, wish.head, loaded.imagenet)
    if new:
        pixels = named(wish.pixels, dataset)
        if pixels != AS_THEY_ARE:
            model, new = adapt(loaded.model, shape, classes, wish.head, loaded.imagenet, pixels)
        return Adapted(model, new)
    given = network(wish, loaded, classes)
    found, row = judged(given, dataset), None
    if own := _own_images(given, dataset, read_as, seed):
        found, row = _as_it_came(given, own, found)  # its pixels are those of its own size
    pixels = named(found.best.pixels.name, dataset)
    if pixels != AS_THEY_ARE:
        model, _ = adapt(loaded.model, shape, classes, wish.head, loaded.imagenet, pixels)
    return Adapted(model, [], found, row)


def is_own(source: str) -> bool:
    """Whether a network was left by a run of this program, which crops its pictures."""
    path = Path(source)
    return path.is_dir() or (path.is_file() and artifact.load(path.parent) is not None)


def network(wish: Wish, loaded: Loaded, classes: int, resizes: bool = False) -> Network:
    """A Keras model as a network with the classes of the data.

    Args:
        wish: What is known of it.
        loaded: The model.
        classes: Number of classes.
        resizes: Whether images are resized to its own size within it.
    """

    def score(shape: ImageShape) -> Score:
        model, _ = adapt(loaded.model, shape, classes, "keep", loaded.imagenet, resizes=resizes)
        return presentation.keras_score(model)

    return Network(
        wish.source,
        fitting.own_shape(loaded.model),
        score,
        reversible(loaded.model),
        "crop" if is_own(wish.source) else "stretch",
        wish.pixels,
        wish.asker,
    )


def judged(network: Network, dataset: Dataset) -> Found:
    """How a network wants its pictures, on a sample of a data set; the log says what was found."""
    sample = presentation.Sample.of(dataset.val, dataset.train)
    score = network.score(dataset.image_shape)
    found = presentation.recognized(score, sample, network.candidates(sample.statistics))
    best = found.best
    told = (network.asker, network.name, 100 * best.accuracy, sample.val, best.way)
    rest = f" ({found.told()})" if len(found.tried) > 1 else ""
    log.info("%s: %s classifies %.1f%% of %d val images right with pixels %s%s", *told, rest)
    if rivals := found.rivals():
        log.warning(
            "%s: %s does as well with pixels %s, and gives other scores. If it was trained on "
            "these, set load.pixels; %s are taken",
            *(network.asker, network.name, " or ".join(one.way for one in rivals), best.way),
        )
    return found


def named(choice: Choice, dataset: Dataset) -> Pixels:
    """Values of pixels by name, with statistics of all training images."""
    name = "0..255" if choice == "auto" else choice
    taken = name.startswith(values.OF_THE_DATA)
    return values.named(name, values.Statistics.of_split(dataset.train) if taken else None)


def _own_images(
    network: Network, dataset: Dataset, read_as: DataConfig | None, seed: int
) -> Dataset | None:
    """The data at a network's own size; None where they have it."""
    height, width, channels = network.shape
    shape = (height or 0, width or 0, channels)
    if not height or not width or shape == dataset.image_shape:
        return None
    if read_as is None:
        return _resized(dataset, shape)
    free = read_as.model_copy(update={"image_size": None, "channels": None})
    return datasets.load(fitting.decided(network, free, seed), seed)


def _as_it_came(network: Network, own: Dataset, here: Found) -> tuple[Found, details.Given]:
    """How a network wants its pictures, and its accuracy, at its own size."""
    found, score = judged(network, own), network.score(own.image_shape)
    pixels = found.best.pixels
    parts = {"val": own.val, "test": own.test}
    every = {name: _scores(score, pixels, part) for name, part in parts.items()}
    scores: dict[str, float] = {}
    for name, part in parts.items():
        for goal in objective.NAMES:
            scores |= objective.of_part(name, goal, part.labels, every[name])
    val, test = scores.pop("val_accuracy"), scores.pop("test_accuracy")
    log.warning(
        "%s: %s takes images of %s, and %.1f%% of the val images are right there; with images of "
        "%s it is %.1f%%. What comes of it is compared with the former. Leave data.image_size out "
        "to keep its own size",
        *(network.asker, network.name, _size(own.image_shape), 100 * val),
        *(_size(here.best.sample.images.shape[1:]), 100 * here.best.accuracy),
    )
    given: details.Given = {
        "image_shape": list(own.image_shape),
        "pixels": pixels.name,
        "val_accuracy": val,
        "test_accuracy": test,
        "scores": scores,
    }
    return found, given


def _scores(score: Score, pixels: Pixels, split: Split) -> Any:
    """Probabilities of the classes of each image, `[N, K]`."""
    found = list[Any]()
    for start in range(0, len(split), CHUNK):
        images = split.images[split.index[start : start + CHUNK]]
        found.append(presentation.as_probabilities(score(pixels.of(images))))
    return np.concatenate(found)


def _resized(dataset: Dataset, shape: ImageShape) -> Dataset:
    """Images in memory at another size; they are stretched, having been fitted already."""

    def part(split: Split, count: int) -> Split:
        images = [_stretched(split.images[row], shape) for row in split.index[:count]]
        return Split(np.stack(images), split.labels[:count], np.arange(len(images)))

    train = part(dataset.train, presentation.TRAINED)
    val, test = (part(one, len(one)) for one in (dataset.val, dataset.test))
    return replace(dataset, train=train, val=val, test=test)


def _stretched(image: Any, shape: ImageShape) -> Any:
    height, width, channels = shape
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return pictures.fit(picture, (height, width), channels, "stretch")


def _size(shape: Any) -> str:
    return "x".join(map(str, shape))
