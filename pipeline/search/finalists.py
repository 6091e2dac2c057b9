"""The last choice of a search: rank the best networks by the score of their int8 files."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.budget import Budget
from pipeline.data.datasets import Dataset
from pipeline.data.stream import batch
from pipeline.details import Objective
from pipeline.errors import ModelError
from pipeline.graph import keras_file
from pipeline.measure import metrics
from pipeline.objective import of_part
from pipeline.search import costs, isolation, trial
from pipeline.system.files import write_atomic
from pipeline.tflite import convert
from pipeline.tflite.classifier import Runner

log = logging.getLogger("flopsmith")
RESULT = "int8.json"
CALIBRATION_IMAGES = 100


def run(
    model: Path,
    dataset: Dataset,
    seed: int,
    objective: Objective = "accuracy",
    send: Callable[[Any], None] | None = None,
) -> dict[str, Any]:
    """Quantize a network after training and score the file.

    Returns:
        `int8_val_accuracy` and the objective, `int8_bytes` and `int8_latency_ms` (one thread), and
        `int8_error`: None, or why there is no int8 file, in which case there are no numbers.
    """
    images, _ = batch(dataset.train, CALIBRATION_IMAGES, seed)
    try:
        content = convert.ptq(keras_file.load(model), images)
        runner = Runner(content)
        scores = metrics.tflite_scores(runner, dataset.val)
    except ModelError as error:
        return {"int8_error": str(error)}
    return {
        **of_part("int8_val", objective, dataset.val.labels, scores),
        "int8_bytes": len(content) + convert.SIGNATURE_BYTES,
        "int8_latency_ms": costs.latency_ms(runner),
        "int8_error": None,
    }


def ranked(
    rows: Sequence[dict[str, Any]],
    directory: Path,
    dataset: Dataset,
    seed: int,
    budget: Budget,
    objective: Objective = "accuracy",
) -> list[dict[str, Any]]:
    """Sort trials by the objective on val of their int8 files, then bytes, then latency.

    Adds these numbers to them. Those whose trained file breaks a bound come after the others, those
    that cannot be quantized last. Results are kept beside each model.
    """
    for row in rows:
        place = directory / row["directory"]
        done = place / RESULT
        if not done.exists():
            options: dict[str, Any] = {"model": place / trial.MODEL, "dataset": dataset}
            options |= {"seed": seed, "objective": objective}
            try:
                found = isolation.call(run, options, place, lambda _: None)
            except isolation.CrashError as error:
                found = {"int8_error": str(error)}
            write_atomic(done, json.dumps(found))
        row |= json.loads(done.read_text(encoding="utf-8"))

    def order(row: dict[str, Any]) -> tuple[int, float, float, float]:
        if row["int8_error"]:
            return 2, -row[f"val_{objective}"], 0.0, 0.0
        size, latency = row["int8_bytes"], row["int8_latency_ms"]
        broken = budget.broken_by({"tflite_bytes": size, "latency_ms": latency})
        if broken:
            name = row["trial_id"]
            log.warning("search: trial %s, trained, breaks %s", name, ", ".join(broken))
        return int(bool(broken)), -row[f"int8_val_{objective}"], size, latency

    return sorted(rows, key=order)
