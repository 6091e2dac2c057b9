"""Accuracy of a model file on a part of a data set, over one or many views of every image.

Source:  ten views, Krizhevsky et al. 2012, section 4.1,
         https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt

from pipeline import objective
from pipeline.data import datasets
from pipeline.data.datasets import DataConfig, Dataset, Split
from pipeline.data.pictures import Form
from pipeline.data.stream import batch
from pipeline.errors import ModelError
from pipeline.graph import keras_file, walk
from pipeline.graph import scores as score
from pipeline.measure import evaluation, intervals, robustness
from pipeline.pretrained import fitting, given, sources, worth
from pipeline.pretrained.fitting import Network
from pipeline.pretrained.given import Wish
from pipeline.pretrained.pixels import AS_THEY_ARE, Pixels
from pipeline.tflite import predict, scoring

Views = Literal["one", "flip", "ten_crop"]
CROP = 7 / 8  # side of a crop: 224 of 256 pixels
CHUNK = 256  # images at a time

Images = npt.NDArray[np.float32]
log = logging.getLogger("flopsmith")


def views(images: Images, kind: Views) -> Iterator[Images]:
    """Every view of some images, each of the size that they have.

    Args:
        images: float32 [N, H, W, C] in 0..255.
        kind: "one" is the images; "flip" they and their mirror images; "ten_crop" four corners
            and the centre, 7/8 of each side enlarged to the whole, and the mirror image of each.
    """
    if kind != "ten_crop":
        yield images
        if kind == "flip":
            yield images[:, :, ::-1]
        return
    height, width = images.shape[1:3]
    rows, columns = round(height * CROP), round(width * CROP)
    down, right = height - rows, width - columns
    corners = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
    for top, left in corners:
        crop = images[:, top : top + rows, left : left + columns]
        whole = np.asarray(keras.ops.image.resize(crop, (height, width)))
        yield whole
        yield whole[:, :, ::-1]


def form(path: Path, config: DataConfig, seed: int, asker: str = "evaluate") -> DataConfig:
    """The data in the form in which a model takes its pictures, unless another is asked for.

    Args:
        path: The model.
        config: What is set there stays.
        seed: Of the division.
        asker: Who wants to know, for the log.

    Raises:
        ModelError: the file is no classifier of images, or knows another number of classes.
    """
    _, names = datasets.sample(config, seed, 1)
    network = replace(_network(path, len(names)), asker=asker)
    return fitting.decided(network, config, seed)


def scores(
    path: Path, split: Split, kind: Views, pixels: Pixels = AS_THEY_ARE
) -> npt.NDArray[np.float32]:
    """Mean scores of a `.keras` or `.tflite` model over the views of each image, `[N, K]`.

    Args:
        path: The model.
        split: The images.
        kind: Which views.
        pixels: The values of pixels that the model takes.

    Raises:
        ModelError: the file is no classifier of images of that shape.
    """
    return _scores(path, _network(path), split, kind, pixels)


def accuracy(
    path: Path, dataset: Dataset, part: str, kind: Views, damaged: int = 0
) -> dict[str, Any]:
    """Accuracy on a part of a data set, overall and by class, and the other scores.

    Each has its interval of 95%: `pipeline.measure.intervals`. What else is said of the answers is
    defined in `pipeline.measure.evaluation`.

    The values of pixels that the model takes are those that its metadata states, or else those with
    which it classifies most val images. The log says so, and warns of a model below its worth.

    Args:
        path: A `.keras` or `.tflite` file, or the directory of a run.
        dataset: The images, in the form that the model takes.
        part: "train", "val" or "test".
        kind: Which views of each image are averaged.
        damaged: How many of the images are damaged, to measure accuracy on them.

    Raises:
        ModelError: the model knows another number of classes, or takes other images.
    """
    split: Split = getattr(dataset, part)
    _refuse_other_images(path, _network(path), split)
    network = _network(path, dataset.num_classes)
    found = given.judged(network, dataset)
    if doubt := worth.doubt(found, dataset.class_names):
        log.warning("%s: %s", path, doubt.text)
    result = _scores(path, network, split, kind, found.best.pixels)
    every = intervals.every(split.labels, result)
    val = None
    if part != "val":
        val = dataset.val.labels, _scores(path, network, dataset.val, kind, found.best.pixels)
    said, classes, _ = evaluation.evaluated((split.labels, result), val, dataset.class_names)
    more: dict[str, Any] = {}
    if damaged:
        images, labels = batch(split, damaged, seed=0)
        function = network.score(dataset.image_shape)
        models = {"model": lambda x: function(found.best.pixels.of(x.astype(np.float32)))}
        more["damaged"] = robustness.measured(list(images), labels, models)
    return {
        "part": part,
        "views": kind,
        "images": len(split),
        "image_shape": list(dataset.image_shape),
        "fit": dataset.form.fit,
        "pixels": found.best.way,
        "accuracy": every["accuracy"].value,
        "accuracy_low": every["accuracy"].low,
        "accuracy_high": every["accuracy"].high,
        "scores": {name: one._asdict() for name, one in every.items()},
        "absent": objective.absent(split.labels, dataset.class_names),
        "per_class": classes,
        "evaluation": said,
        **more,
    }


def _scores(
    path: Path, network: Network, split: Split, kind: Views, pixels: Pixels
) -> npt.NDArray[np.float32]:
    _refuse_other_images(path, network, split)
    height, width, channels = split.images.shape[1:]
    function, found = network.score((height, width, channels)), []
    for start in range(0, len(split), CHUNK):
        images = split.images[split.index[start : start + CHUNK]].astype(np.float32)
        each = [function(pixels.of(view)) for view in views(images, kind)]
        found.append(np.mean(each, axis=0))
    return np.concatenate(found)


def _refuse_other_images(path: Path, network: Network, split: Split) -> None:
    shape, received = network.shape, split.images.shape[1:]
    if any(own not in (None, other) for own, other in zip(shape, received, strict=True)):
        same = all(own in (None, other) for own, other in zip(shape[:2], received, strict=False))
        raise ModelError(
            f"{path}: takes other images than the data has. Received: images of "
            f"{_size(received)}, a model for {_size(shape)}. "
            + ("Give data with as many channels" if same else f"Give --image-size {shape[0]}")
        )


def _network(path: Path, classes: int | None = None) -> Network:
    """A model file as a network with the classes of the data; None: whatever it has."""
    if path.suffix not in keras_file.SUFFIXES and not path.is_dir():
        return _of_tflite(path, classes)
    loaded = sources.load(str(path))
    walk.graph(loaded.model)
    count = loaded.model.outputs[0].shape[-1]
    shape = fitting.own_shape(loaded.model)
    if len(loaded.model.inputs) != 1 or len(loaded.model.outputs) != 1 or not shape[-1]:
        raise ModelError(f"not an image classifier. Received: {path}")
    _refuse_other_classes(path, count, classes)
    wish = Wish(str(path), "keep", asker="evaluate")
    return given.network(wish, loaded, classes or count)


def _of_tflite(path: Path, classes: int | None) -> Network:
    runner, _ = predict.load(path)
    height, width, channels = runner.image_shape
    _refuse_other_classes(path, runner.num_classes, classes)
    stated = runner.takes_bytes or runner.normalization is not None
    return Network(
        str(path),
        (height, width, channels),
        lambda _: lambda images: scoring.each(runner.graph, runner.scores(images)),
        reversible=True,
        usual=runner.form.fit if given.is_own(str(path)) or runner.form != Form() else "stretch",
        pixels="0..255" if stated else "auto",
        asker="evaluate",
    )


def _refuse_other_classes(path: Path, count: int, classes: int | None) -> None:
    if classes is not None and not score.fit(count, classes):
        raise ModelError(
            f"{path}: knows other classes than the data has. Received: {count} scores, "
            f"{classes} classes. Give the data it was trained on"
        )


def _size(shape: Any) -> str:
    return "x".join("any" if side is None else str(side) for side in shape)
