"""Accuracy of a model file on a part of a data set, over one or many views of every image.

Source:  ten views, Krizhevsky et al. 2012, section 4.1,
         https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt

from pipeline.data.datasets import Dataset, Split
from pipeline.errors import ModelError
from pipeline.graph import ending
from pipeline.graph import scores as score
from pipeline.pretrained import sources
from pipeline.tflite import predict, scoring

Views = Literal["one", "flip", "ten_crop"]
CROP = 7 / 8  # side of a crop: 224 of 256 pixels
CHUNK = 256  # images at a time

Pixels = npt.NDArray[np.float32]


def views(images: Pixels, kind: Views) -> Iterator[Pixels]:
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


def scores(path: Path, split: Split, kind: Views) -> npt.NDArray[np.float32]:
    """Mean scores of a `.keras` or `.tflite` model over the views of each image, `[N, K]`.

    Raises:
        ModelError: the file is no classifier of images of that shape.
    """
    shape, function = _classifier(path)
    if tuple(shape) != split.images.shape[1:]:
        same = shape[:2] == split.images.shape[1:3]
        raise ModelError(
            f"{path}: takes other images than the data has. Received: images of "
            f"{_size(split.images.shape[1:])}, a model for {_size(shape)}. "
            + ("Give data with as many channels" if same else f"Give --image-size {shape[0]}")
        )
    found = []
    for start in range(0, len(split), CHUNK):
        images = split.images[split.index[start : start + CHUNK]].astype(np.float32)
        each = [function(view) for view in views(images, kind)]
        found.append(np.mean(each, axis=0))
    return np.concatenate(found)


def accuracy(path: Path, dataset: Dataset, part: str, kind: Views) -> dict[str, Any]:
    """Accuracy on a part of a data set, overall and by class.

    Raises:
        ModelError: the model knows another number of classes.
    """
    split: Split = getattr(dataset, part)
    found = scores(path, split, kind)
    if not score.fit(found.shape[1], dataset.num_classes):
        raise ModelError(
            f"{path}: knows other classes than the data has. Received: {found.shape[1]} scores, "
            f"{dataset.num_classes} classes. Give the data it was trained on"
        )
    hits = score.classes(found) == split.labels
    names = enumerate(dataset.class_names)
    own = {name: hits[split.labels == i] for i, name in names}
    return {
        "part": part,
        "views": kind,
        "images": len(split),
        "accuracy": float(hits.mean()),
        "per_class": {name: float(each.mean()) for name, each in own.items() if len(each)},
    }


def _classifier(path: Path) -> tuple[tuple[int, ...], Any]:
    """The image shape of a model, and its scores of float images 0..255."""
    if path.suffix != ".keras" and not path.is_dir():
        runner, _ = predict.load(path)
        return tuple(runner.image_shape), lambda x: scoring.each(runner.graph, runner.scores(x))
    model = sources.load(str(path)).model
    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.inputs[0].shape) != 4:
        raise ModelError(f"not an image classifier. Received: {path}")
    logit = model.output_shape[-1] == 1 and ending.kind(model) == "logits"
    function = keras.ops.sigmoid if logit else np.asarray
    return model.inputs[0].shape[1:], lambda x: np.asarray(function(model.predict(x, verbose=0)))


def _size(shape: Any) -> str:
    return "x".join(str(side) for side in shape)
