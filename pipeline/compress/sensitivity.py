"""How much a model loses when one of its kernels is changed alone, without training.

Source:  Han et al. 2015, section 5, figure 6, https://arxiv.org/abs/1506.02626.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from pipeline.artifact import Artifact
from pipeline.compress import patterns
from pipeline.compress.kernels import Kernel
from pipeline.compress.patterns import Pattern
from pipeline.data.datasets import Dataset, Split
from pipeline.data.stream import batch
from pipeline.details import Objective
from pipeline.graph import walk
from pipeline.objective import TITLES, measured
from pipeline.system import progress
from pipeline.system.files import write_atomic
from pipeline.train import losses

FILE = "scan.json"  # in the directory of a stage, while it is not done
RENEWING = 300  # train images for statistics of normalization
IMAGES = 500  # that accuracy is measured on, at most
SPARSITIES = (0.4, 0.6, 0.8, 0.9, 0.97)
BATCH = 100
Curves = dict[str, list[tuple[float, float]]]  # (sparsity, score) by name of a kernel


def scan(
    kernels: Sequence[Kernel],
    model: keras.Model,
    split: Split,
    seed: int,
    pattern: Pattern = patterns.SINGLE,
    objective: Objective = "accuracy",
) -> tuple[Curves, int]:
    """Prune each kernel alone, and put its weights back.

    Args:
        kernels: Of the model.
        model: Gives scores of images.
        split: What it is scored on; 500 images at most.
        seed: Chooses which.
        pattern: Where zeros may be.
        objective: The score.

    Returns:
        By name of the kernel, pairs of sparsity and score, both 0..1, from 0 zeros up; and the
        number of images.
    """
    score, count = scorer(model, split, seed, objective)
    whole, curves = score(), {}
    with progress.bar("sensitivity", len(kernels)) as advance:
        for kernel in kernels:
            curves[kernel.name] = [(0.0, whole), *_alone(kernel, score, pattern)]
            left = curves[kernel.name][-1][1]
            title = TITLES[objective]
            advance(f"{kernel.name}: val {title} {left:.4f} with {SPARSITIES[-1]:.0%} zeros")
    return curves, count


def most_sensitive(
    kernels: Sequence[Kernel],
    loss: Callable[[], float],
    change: Callable[[Kernel], None],
    count: int,
) -> list[str]:
    """Names of the kernels whose change alone costs most; at least one is not among them.

    Args:
        kernels: Of one model; their weights are put back.
        loss: Measures the model, see `loss_of`.
        change: What is done to a kernel, in place.
        count: Of names, the worst first.
    """
    losses = {}
    with progress.bar("sensitivity", len(kernels)) as advance:
        for kernel in kernels:
            with put_back([kernel.variable]):
                change(kernel)
                losses[kernel.name] = loss()
            advance(f"{kernel.name}: loss {losses[kernel.name]:.4f}")
    worst = sorted(losses, key=lambda name: np.nan_to_num(losses[name], nan=np.inf), reverse=True)
    return worst[: min(count, len(kernels) - 1)]


def _alone(
    kernel: Kernel, score: Callable[[], float], pattern: Pattern
) -> list[tuple[float, float]]:
    points = []
    with put_back([kernel.variable]):
        for sparsity in SPARSITIES:  # each from the last: the smallest stay the smallest
            kernel.keep(patterns.mask(kernel.importance, sparsity, pattern))
            points.append((sparsity, score()))
    return points


def remembered(
    path: Path | None, key: str, make: Callable[[], tuple[Curves, int]]
) -> tuple[Curves, int]:
    """The curves in a file, or new ones, which are then written to it.

    Args:
        path: Of the file; None: they are not kept.
        key: Changes with everything that the curves depend on; others in the file do not count.
        make: Calls `scan`.
    """
    if path is not None and path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["key"] == key:
            pairs = {name: [(s, a) for s, a in curve] for name, curve in found["curves"].items()}
            return pairs, found["images"]
    curves, images = make()
    if path is not None:
        write_atomic(path, json.dumps({"key": key, "curves": curves, "images": images}))
    return curves, images


def scorer(
    model: keras.Model, split: Split, seed: int, objective: Objective = "accuracy"
) -> tuple[Callable[[], float], int]:
    """Make what measures the model's score on some images, and say how many they are."""
    places, count = _places(split, seed)
    labels = split.labels[np.concatenate(places)]

    def score() -> float:
        found = [model.predict_on_batch(_pixels(split, some)) for some in places]
        return measured(objective, labels, np.nan_to_num(np.concatenate(found)))

    return score, count


@contextmanager
def put_back(variables: Sequence[Any]) -> Iterator[None]:
    """Give variables their values back at the end."""
    before = [np.array(variable) for variable in variables]
    try:
        yield
    finally:
        for variable, values in zip(variables, before, strict=True):
            variable.assign(values)


def loss_of(model: keras.Model, split: Split, seed: int) -> Callable[[], float]:
    """Make what measures the model's cross-entropy on the images that `scorer` looks at.

    It tells kernels apart that cost the same few images.
    """
    places, count = _places(split, seed)
    known = max(2, int(model.output_shape[-1]))  # one output tells two classes apart
    view, loss, *_ = losses.view(model, losses.Lessons(), known, 0.0)

    def score() -> float:
        total = 0.0
        for some in places:
            scores = view.predict_on_batch(_pixels(split, some))
            total += float(np.sum(loss(split.labels[some], scores)))
        return total / count

    return score


class Gauged:
    """Scores a model after changes of its weights that are undone: `with gauged.one(): ...`.

    Batch normalization gets statistics that fit each change, unless training would not renew them.
    """

    def __init__(
        self, model: keras.Model, source: Artifact, data: Dataset, seed: int, objective: Objective
    ) -> None:
        self._model, self.scores = model, list[float]()
        self._score, _ = scorer(model, data.val, seed, objective)
        images, _ = batch(data.train, RENEWING, seed)
        self._images = images[: 0 if source.settings.get("fix_norms") else None]

    @contextmanager
    def one(self) -> Iterator[None]:
        """Score what is done meanwhile, then undo it."""
        with put_back(self._model.weights):
            yield
            renew(self._model, self._images)
            self.scores.append(self._score())


def renew(model: keras.Model, images: npt.NDArray[Any]) -> None:
    """Give batch normalization the mean statistics of batches of images, as training would.

    Weights that change shift what reaches the next normalization, and scores with its old
    statistics say nothing of what training could do.
    """
    norms = [la for la in walk.layers(model) if isinstance(la, keras.layers.BatchNormalization)]
    paces = [layer.momentum for layer in norms]
    parts = np.array_split(images, max(1, len(images) // BATCH)) if norms and len(images) else []
    for number, part in enumerate(parts):
        for layer in norms:
            layer.momentum = number / (number + 1)  # the mean of all parts so far
        model(part.astype(np.float32), training=True)
    for layer, pace in zip(norms, paces, strict=True):
        layer.momentum = pace


def _places(split: Split, seed: int) -> tuple[list[npt.NDArray[np.intp]], int]:
    """Batches of images of a split, and how many images they are."""
    count = min(len(split), IMAGES)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(split))[:count])
    return np.array_split(chosen, -(-count // BATCH)), count


def _pixels(split: Split, places: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    return np.asarray(split.images[split.index[places]], np.float32)
