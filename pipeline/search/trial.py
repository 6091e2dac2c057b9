"""One trial: plain data in, numbers and a weights file out."""

import json
import math
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline.data.datasets import Dataset
from pipeline.data.stream import batch
from pipeline.details import Objective
from pipeline.graph import keras_file
from pipeline.pretrained import family
from pipeline.system.files import write_atomic
from pipeline.train import course, inputs, losses, threads, training
from pipeline.train.checkpoint import CHECKPOINT
from pipeline.train.initialization import lsuv
from pipeline.train.losses import Lessons
from pipeline.train.preprocessing import Preprocessing
from pipeline.train.preprocessing import apply as preprocess
from pipeline.train.settings import Settings
from search_spaces.base import build

Send = Callable[[tuple[int, dict[str, float]]], None]
RESULT = "result.json"
MODEL = "model.keras"


@dataclass(frozen=True)
class Task:
    """What a trial trains: plain data, which another process can be given.

    Attributes:
        family: Name of the family.
        arch: JSON data of its `Arch`.
        settings: Fields of `train.settings.Settings`.
        seed: Of initial weights and image order.
        directory: Where `model.keras` and, last, `result.json` are written.
        parent: Directory of the trial of the same network whose training this one continues; None:
            from scratch. With the parent's checkpoint its schedule continues as well; with its
            model alone a new schedule begins.
        first: Epochs of the schedule that `parent` has done.
        last: Epochs of the schedule after which this trial stops, and leaves a checkpoint if the
            schedule has more; None: all epochs of a schedule of its own.
        preprocessing: What the network does to pixels first, unless it has a parent.
        deadline: `time.monotonic()` after which no epoch begins.
        seconds: Of training, in which a schedule of its own is completed; None: as many epochs as
            the settings say.
        objective: The score on val that decides which epoch is best.
        threads: Of the process; None: as many as TensorFlow takes.
    """

    family: str
    arch: Mapping[str, Any]
    settings: Mapping[str, Any]
    seed: int
    directory: Path
    parent: Path | None = None
    first: int = 0
    last: int | None = None
    preprocessing: Preprocessing = "fixed"
    deadline: float | None = None
    seconds: float | None = None
    objective: Objective = "accuracy"
    threads: int | None = None

    @property
    def epochs(self) -> int:
        """Epochs that this trial trains."""
        return int(self.settings["epochs"]) if self.last is None else self.last - self.first

    @property
    def ends(self) -> bool:
        """Whether this trial trains to the end of its schedule."""
        return self.last is None or self.last >= self.settings["epochs"]


def run(task: Task, dataset: Dataset, send: Send | None = None) -> dict[str, Any]:
    """Train one network, or read the result of an earlier call for the same directory.

    A call that was interrupted resumes after the last whole epoch.

    Args:
        task: What to train.
        dataset: Trained on its train part, scored on its val part.
        send: Called after each epoch with its number, from 1, and its point of every curve.

    Returns:
        `epochs` asked for or, with `seconds`, trained; `val_accuracy`, `val_loss` and the objective
        of the best one (None if the trial failed), `history`, `error` (None, or why it failed),
        `seconds`, of which `fit_seconds` were training, `epoch_seconds` one epoch and
        `slice_seconds` all updates but the first, and `memory_bytes`, the most that the process has
        held. An error of the network is a result, not an exception.
    """
    directory = task.directory
    if (directory / RESULT).exists():
        return result(directory)
    start = time.perf_counter()
    if task.threads is not None:
        threads.limit(task.threads)
    found: dict[str, Any] = {
        "epochs": task.epochs,
        "val_accuracy": None,
        "val_loss": None,
        "history": {},
        "error": None,
        "fit_seconds": 0.0,
        "epoch_seconds": 0.0,
        "slice_seconds": 0.0,
    }
    try:
        model = _train(task, dataset, send, found)
        if found["error"] is None:
            keras_file.save(model, directory / MODEL)
    # Whatever a network raises (out of memory, a shape it cannot take) is this trial's result;
    # it must not end a night of search.
    except Exception:  # noqa: BLE001
        found["error"] = traceback.format_exc(limit=-3)
    found["memory_bytes"] = _memory_bytes()
    found["seconds"] = round(time.perf_counter() - start, 3)
    write_atomic(directory / RESULT, json.dumps(found))
    if task.ends or found["error"] is not None:
        (directory / CHECKPOINT).unlink(missing_ok=True)
    return found


def _train(task: Task, dataset: Dataset, send: Send | None, found: dict[str, Any]) -> keras.Model:
    """Build and train the network; note its scores and times in `found`."""
    keras.utils.set_random_seed(task.seed)
    begin = task.parent and task.parent / MODEL
    if task.parent is not None and task.last is not None:
        _take_over(task.parent / CHECKPOINT, task.directory / CHECKPOINT)
        begin = None  # everything in it is in the checkpoint as well
    model, fresh = _model(task, dataset, begin)
    settings = {**task.settings, "new_layers": fresh} if fresh else task.settings
    ends: list[float] = []
    updates: list[float] = []

    def report(epoch: int, point: dict[str, float]) -> None:
        ends.append(time.perf_counter())
        if send is not None:
            send((epoch, point))

    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: updates.append(time.perf_counter())
    )
    began = time.perf_counter()
    history = training.fit(
        model,
        dataset,
        Settings(**settings),
        task.seed,
        training.Session(
            task.directory.name,
            report,
            task.directory / CHECKPOINT,
            last=task.last,
            deadline=task.deadline,
            seconds=task.seconds,
            objective=task.objective,
        ),
        callbacks=[watch],
        lessons=Lessons(heads=losses.heads(task.family, task.arch, model, dataset.num_classes)),
    )
    found["fit_seconds"] = round(time.perf_counter() - began, 3)
    found["slice_seconds"] = round(time.perf_counter() - updates[0], 3) if updates else 0.0
    # The first epoch is slower, since functions are traced in it: leave it out if there are more.
    spans = np.diff(ends) if len(ends) > 1 else [found["fit_seconds"]]
    if task.seconds is not None:  # epochs may have ended early
        found["epochs"] = len(ends)
        if len(updates) > 1:
            steps = inputs.steps_per_epoch(dataset, Settings(**settings))
            spans = [(updates[-1] - updates[0]) / (len(updates) - 1) * steps]
    found["epoch_seconds"] = round(float(np.median(spans)), 3)
    found |= _scored(history, task.objective)
    new = 0 if task.last is None else task.first
    found["history"] = {curve: values[new:] for curve, values in history.items()}
    return model


def result(directory: Path) -> dict[str, Any]:
    """Read the result of a trial."""
    return dict(json.loads((directory / RESULT).read_text(encoding="utf-8")))


def fail(directory: Path, error: str, seconds: float, epochs: int) -> None:
    """Write a failure result for a crashed trial, unless it has left a result itself."""
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
    """Copy the checkpoint of a parent, unless an interrupted call has already done so."""
    if not own.exists():
        write_atomic(own, checkpoint.read_bytes())


def _model(task: Task, dataset: Dataset, begin: Path | None) -> tuple[keras.Model, list[str]]:
    """The network, and its layers with random weights if the others have trained ones."""
    if begin is not None:
        return keras_file.load(begin), []
    model = build(task.family, task.arch, dataset.image_shape, dataset.num_classes)
    preprocess(model, task.preprocessing, dataset.train)
    fresh = family.fill(model, task.family, task.arch)
    if task.arch.get("style", {}).get("init") == "lsuv":
        lsuv(model, batch(dataset.train, 64, task.seed)[0])
    return model, fresh


def _scored(history: course.History, objective: Objective) -> dict[str, Any]:
    """The scores of the epoch whose weights were kept, or why there is none."""
    loss = history["train/loss"][-1]
    if not math.isfinite(loss):
        return {"history": history, "error": f"diverged: train/loss={loss}"}
    names = dict.fromkeys((objective, "accuracy", "loss"))
    epochs = [
        dict(zip(names, one, strict=True))
        for one in zip(*(history[f"val/{n}"] for n in names), strict=True)
    ]
    kept = [epoch for epoch in epochs if math.isfinite(epoch["loss"])]
    if not kept:
        return {"history": history, "error": "diverged: no val/loss was finite"}
    best = max(kept, key=lambda epoch: (epoch[objective], -epoch["loss"]))
    return {"history": history, **{f"val_{name}": best[name] for name in reversed(names)}}


def _memory_bytes() -> int | None:
    """Most memory that this process has held; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
