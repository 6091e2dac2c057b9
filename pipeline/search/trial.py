"""One trial: plain data in, numbers and a weights file out."""

import json
import math
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline import pretrained
from pipeline.data.datasets import Dataset
from pipeline.data.stream import batch
from pipeline.system.files import write_atomic
from pipeline.train import losses, training
from pipeline.train.checkpoint import CHECKPOINT
from pipeline.train.initialization import lsuv
from pipeline.train.losses import Lessons
from pipeline.train.preprocessing import Preprocessing
from pipeline.train.preprocessing import apply as preprocess
from pipeline.train.settings import Settings
from search_spaces.base import build

RESULT = "result.json"
MODEL = "model.keras"


def run(
    family: str,
    arch: Mapping[str, Any],
    settings: Mapping[str, Any],
    dataset: Dataset,
    *,
    seed: int,
    directory: Path,
    parent: Path | None = None,
    first: int = 0,
    last: int | None = None,
    preprocessing: Preprocessing = "fixed",
    deadline: float | None = None,
    send: Callable[[tuple[int, dict[str, float]]], None] | None = None,
) -> dict[str, Any]:
    """Train one network, or read the result of an earlier call for the same directory.

    A call that was interrupted goes on from the last whole epoch.

    Args:
        family: Name of the family.
        arch: JSON data of its `Arch`.
        settings: Fields of `training.Settings`.
        dataset: Trained on its train part, scored on its val part.
        seed: Of initial weights and image order.
        directory: Where `model.keras` and, last, `result.json` are written.
        parent: Directory of the trial of the same network whose training goes on; None: from
            scratch. With its checkpoint the schedule goes on as well, with its model alone it
            begins anew.
        first: Epochs of the schedule that `parent` has done.
        last: Epochs of the schedule after which this trial stops, and leaves a checkpoint if there
            are more; None: all of a schedule of its own.
        preprocessing: What the network does to pixels first, unless it has a parent.
        deadline: `time.monotonic()` after which no epoch begins.
        send: Is given the number of each epoch, from 1, and its point of every curve.

    Returns:
        `epochs` asked for, `val_accuracy` and `val_loss` of the best one (None if the trial
        failed), `history`,
        `error` (None, or why it failed), `seconds`, of which `fit_seconds` were training and
        `epoch_seconds` one epoch, and `memory_bytes`, the most that the process has held. An error
        of the network is a result, not an exception.
    """
    if (directory / RESULT).exists():
        return result(directory)
    start = time.perf_counter()
    ends: list[float] = []

    def report(epoch: int, point: dict[str, float]) -> None:
        ends.append(time.perf_counter())
        if send is not None:
            send((epoch, point))

    found: dict[str, Any] = {
        "epochs": settings["epochs"] if last is None else last - first,
        "val_accuracy": None,
        "val_loss": None,
        "history": {},
        "error": None,
        "fit_seconds": 0.0,
        "epoch_seconds": 0.0,
    }
    try:
        keras.utils.set_random_seed(seed)
        begin = parent and parent / MODEL
        if parent is not None and last is not None:
            _take_over(parent / CHECKPOINT, directory / CHECKPOINT)
            begin = None  # all that it holds is in the checkpoint
        model, fresh = _model(family, arch, dataset, seed, begin, preprocessing)
        if fresh:
            settings = {**settings, "new_layers": fresh}
        began = time.perf_counter()
        history = training.fit(
            model,
            dataset,
            Settings(**settings),
            seed,
            training.Session(
                directory.name, report, directory / CHECKPOINT, last=last, deadline=deadline
            ),
            lessons=Lessons(heads=losses.heads(family, arch, model, dataset.num_classes)),
        )
        found["fit_seconds"] = round(time.perf_counter() - began, 3)
        # of an epoch that is not the first, in which functions are traced, if there is one
        spans = np.diff(ends) if len(ends) > 1 else [found["fit_seconds"]]
        found["epoch_seconds"] = round(float(np.median(spans)), 3)
        found |= _scored(history)
        new = 0 if last is None else first
        found["history"] = {curve: values[new:] for curve, values in history.items()}
        if found["error"] is None:
            model.save(directory / MODEL)
    # Whatever a network raises (out of memory, a shape it cannot take) is this trial's result;
    # it must not end a night of search.
    except Exception:  # noqa: BLE001
        found["error"] = traceback.format_exc(limit=-3)
    found["memory_bytes"] = _memory_bytes()
    found["seconds"] = round(time.perf_counter() - start, 3)
    write_atomic(directory / RESULT, json.dumps(found))
    if last is None or last >= settings["epochs"] or found["error"] is not None:
        (directory / CHECKPOINT).unlink(missing_ok=True)
    return found


def result(directory: Path) -> dict[str, Any]:
    """Read what a trial has left."""
    return dict(json.loads((directory / RESULT).read_text(encoding="utf-8")))


def fail(directory: Path, error: str, seconds: float, epochs: int) -> None:
    """Leave a result in the name of a trial that could not, unless it did."""
    left: dict[str, Any] = {
        "val_accuracy": None,
        "history": {},
        "error": error,
        "seconds": round(seconds, 3),
        "epochs": epochs,
    }
    if not (directory / RESULT).exists():
        write_atomic(directory / RESULT, json.dumps(left))


def _take_over(checkpoint: Path, own: Path) -> None:
    """Copy the checkpoint of a parent, unless this trial has gone on from it before."""
    if not own.exists():
        write_atomic(own, checkpoint.read_bytes())


def _model(
    family: str,
    arch: Mapping[str, Any],
    dataset: Dataset,
    seed: int,
    parent: Path | None,
    preprocessing: Preprocessing,
) -> tuple[keras.Model, list[str]]:
    """The network, and which of its layers are new where the others are trained."""
    if parent is not None:
        return keras.models.load_model(parent, compile=False), []
    model = build(family, arch, dataset.image_shape, dataset.num_classes)
    preprocess(model, preprocessing, dataset.train)
    fresh = pretrained.fill(model, family, arch)
    if arch.get("style", {}).get("init") == "lsuv":
        lsuv(model, batch(dataset.train, 64, seed)[0])
    return model, fresh


def _scored(history: training.History) -> dict[str, Any]:
    """The scores of the epoch whose weights were kept, or why there is none."""
    loss = history["train/loss"][-1]
    if not math.isfinite(loss):
        return {"history": history, "error": f"diverged: train/loss={loss}"}
    epochs = zip(history["val/accuracy"], history["val/loss"], strict=True)
    kept = [epoch for epoch in epochs if math.isfinite(epoch[1])]
    if not kept:
        return {"history": history, "error": "diverged: no val/loss was finite"}
    accuracy, val_loss = max(kept, key=lambda epoch: (epoch[0], -epoch[1]))
    return {"history": history, "val_accuracy": accuracy, "val_loss": val_loss}


def _memory_bytes() -> int | None:
    """Most memory that this process has held; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
