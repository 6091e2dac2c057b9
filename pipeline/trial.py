"""One trial: plain data in, numbers and a weights file out."""

import json
import math
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from pipeline import training
from pipeline.artifact import write_atomic
from pipeline.data import Dataset, batch
from pipeline.initialization import lsuv
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
) -> dict[str, Any]:
    """Train one network, or read the result of an earlier call for the same directory.

    Args:
        family: Name of the family.
        arch: JSON data of its `Arch`.
        settings: Fields of `training.Settings`.
        dataset: Trained on its train part, scored on its val part.
        seed: Of initial weights and image order.
        directory: Where `model.keras` and, last, `result.json` are written.

    Returns:
        `val_accuracy` of the best epoch (None if the trial failed), `seconds`, `history` and
        `error` (None, or why it failed). An error of the network is a result, not an exception.
    """
    done = directory / RESULT
    if done.exists():
        return dict(json.loads(done.read_text(encoding="utf-8")))
    start = time.perf_counter()
    result: dict[str, Any] = {"val_accuracy": None, "history": {}, "error": None}
    try:
        keras.utils.set_random_seed(seed)
        model = build(family, arch, dataset.image_shape, dataset.num_classes)
        if arch.get("style", {}).get("init") == "lsuv":
            lsuv(model, batch(dataset.train, 64, seed)[0])
        history = training.fit(
            model, dataset, training.Settings(**settings), seed, label=directory.name
        )
        result["history"] = history
        if not math.isfinite(history["train/loss"][-1]):
            result["error"] = f"diverged: train/loss={history['train/loss'][-1]}"
        else:
            result["val_accuracy"] = max(history["val/accuracy"])
            model.save(directory / MODEL)
    # Whatever a network raises (out of memory, a shape it cannot take) is this trial's result;
    # it must not end a night of search.
    except Exception:  # noqa: BLE001
        result["error"] = traceback.format_exc(limit=-3)
    result["seconds"] = round(time.perf_counter() - start, 2)
    write_atomic(done, json.dumps(result))
    keras.backend.clear_session()
    return result
