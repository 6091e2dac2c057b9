"""Classify image files with a `.tflite` model."""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data import pictures
from pipeline.errors import DataError, ModelError
from pipeline.tflite import metadata, read
from pipeline.tflite.classifier import Runner

log = logging.getLogger("flopsmith")


def load(path: Path) -> tuple[Runner, list[str] | None]:
    """Load a model and the names of its classes, from `labels.txt` beside it or else inside it.

    Raises:
        ModelError: not a `.tflite` classifier, or the labels do not belong to it.
    """
    content = read.content(path)
    try:
        runner = Runner(content)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    names = path.parent / metadata.LABELS
    labels = _read(names) if names.is_file() else metadata.labels(content)
    if labels is not None and len(labels) != runner.num_classes:
        place = names if names.is_file() else f"{names.name} in {path}"
        raise ModelError(
            f"{place}: does not belong to the model. Received: {len(labels)} labels for "
            f"{runner.num_classes} classes"
        )
    return runner, labels


def tell_pixels(runner: Runner, name: str) -> None:
    """Warn of a float model that does not say which values of pixels it takes."""
    if not runner.takes_bytes and runner.normalization is None:
        log.warning(
            "%s does not say which pixels it takes, as metadata with a normalization would; it is "
            "given 0..255. `flopsmith evaluate` finds out what it takes",
            name,
        )


def _read(names: Path) -> list[str]:
    try:
        return names.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{names}: cannot be read as UTF-8 text. Received: {error}") from error


def classify(
    runner: Runner, labels: list[str] | None, path: Path, top: int
) -> list[dict[str, Any]]:
    """Best classes of one image file, as `label` and `score`, best first.

    Raises:
        DataError: the file is not an image.
    """
    height, width, channels = runner.image_shape
    form = runner.form
    try:
        image = pictures.decode(path, (height, width), channels, form.fit, form.levels)
    except pictures.UNREADABLE as error:
        reason = " ".join((getattr(error, "strerror", None) or str(error)).split())
        raise DataError(f"an image cannot be read: {reason}. Received: {path}") from error
    scores = runner.scores([image])[0]
    best = np.argsort(-scores, kind="stable")[:top]
    return [
        {"label": labels[i] if labels else str(i), "score": round(float(scores[i]), 4)}
        for i in best
    ]
