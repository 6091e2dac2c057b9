"""Classify image files with a `.tflite` model."""

import glob
import logging
from collections import Counter, deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data import folders, pictures
from pipeline.errors import DataError, ModelError
from pipeline.graph import scores as score
from pipeline.system import threads
from pipeline.tflite import metadata, read, scoring
from pipeline.tflite.classifier import Runner

AHEAD = 64  # images that are decoded before they are classified, hence in memory
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
    if labels is not None and not score.fit(runner.num_classes, len(labels)):
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


def listed(given: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Find the images that words of the command line mean.

    Args:
        given: Files, folders, or patterns of file names.

    Returns:
        Paths, those within a folder or of a pattern sorted; and sentences about what is left out.

    Raises:
        DataError: there is no image.
    """
    found, left_out = list[Path](), list[str]()
    for word in given:
        path = Path(word)
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.is_file())
            images = [p for p in files if p.suffix.lower() in folders.SUFFIXES]
            if others := _counted(set(files) - set(images)):
                left_out.append(f"{word}: left out what are no images by their names: {others}")
            found += images
        elif not path.exists() and any(letter in word for letter in "*?["):
            found += sorted(map(Path, glob.glob(word, recursive=True)))  # noqa: PTH207
        else:
            found.append(path)
    if not found:
        more = f" ({'; '.join(left_out)})" if left_out else ""
        raise DataError(
            f"there are no images{more}. Received: {' '.join(given)}. Give image files, or folders "
            f"with files that end in {', '.join(sorted(folders.SUFFIXES))}"
        )
    return found, left_out


def _counted(files: Collection[Path]) -> str:
    """How many files of each kind there are: "2 .txt, 1 .csv"."""
    kinds = Counter(path.suffix.lower() or path.name for path in files)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


def classified(
    runner: Runner, labels: list[str] | None, paths: Sequence[Path], top: int
) -> Iterator[tuple[Path, list[dict[str, Any]] | DataError]]:
    """Yield every path with what `classify` makes of it, or with the error if it is no image.

    Images are decoded by several threads, some ahead of the one that is classified.
    """
    with threads.pool() as pool:
        ahead = deque[tuple[Path, Future[Any]]]()
        for path in paths:
            ahead.append((path, pool.submit(_decoded, runner, path)))
            if len(ahead) == AHEAD:
                yield _outcome(runner, labels, *ahead.popleft(), top)
        while ahead:
            yield _outcome(runner, labels, *ahead.popleft(), top)


def _outcome(
    runner: Runner, labels: list[str] | None, path: Path, image: Future[Any], top: int
) -> tuple[Path, list[dict[str, Any]] | DataError]:
    try:
        return path, _best(runner, labels, image.result(), top)
    except DataError as error:
        return path, error


def classify(
    runner: Runner, labels: list[str] | None, path: Path, top: int
) -> list[dict[str, Any]]:
    """Best classes of one image file, as `label` and `score`, best first.

    A file with one score for two classes gives a probability for each.

    Raises:
        DataError: the file is not an image.
    """
    return _best(runner, labels, _decoded(runner, path), top)


def _decoded(runner: Runner, path: Path) -> Any:
    return decoded(path, runner.image_shape, runner.form)


def decoded(path: Path, shape: tuple[int, ...], form: pictures.Form) -> Any:
    """Read an image file as a model takes it, uint8 `[H, W, C]`.

    Raises:
        DataError: the file is not an image.
    """
    height, width, channels = shape
    try:
        return pictures.decode(path, (height, width), channels, form.fit, form.levels)
    except pictures.UNREADABLE as error:
        reason = " ".join((getattr(error, "strerror", None) or str(error)).split())
        raise DataError(f"an image cannot be read: {reason}. Received: {path}") from error


def _best(runner: Runner, labels: list[str] | None, image: Any, top: int) -> list[dict[str, Any]]:
    scores = scoring.each(runner.graph, runner.scores([image]))[0]
    best = np.argsort(-scores, kind="stable")[:top]
    return [
        {"label": labels[i] if labels else str(i), "score": round(float(scores[i]), 4)}
        for i in best
    ]
