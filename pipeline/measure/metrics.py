"""One definition of every compared number.

size_bytes and latency_ms belong to the `.tflite` file that would ship if the pipeline stopped
there: float32 before quantization, int8 after it.
"""

import gzip
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np

from pipeline.artifact import Artifact
from pipeline.data.datasets import Dataset, Split
from pipeline.data.stream import stream
from pipeline.details import LedgerRow, Objective
from pipeline.graph import complexity, keras_file
from pipeline.graph.scores import classes
from pipeline.measure import evaluation, guessing, intervals, ledger
from pipeline.measure.intervals import Interval
from pipeline.objective import of_part
from pipeline.tflite import convert
from pipeline.tflite.classifier import Runner
from pipeline.tflite.read import Graph, read

# Layers whose kernels pruning and clustering change (and so `sparsity`, `distinct_weights`).
COMPRESSIBLE = ("Conv2D", "Conv2DTranspose", "Dense")
COMPRESSIBLE_OPERATORS = ("CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")


def measure(
    artifact: Artifact,
    dataset: Dataset,
    graph: Graph | None = None,
    rows: list[LedgerRow] | None = None,
    objective: Objective = "accuracy",
) -> Artifact:
    """Measure the model of an artifact.

    Args:
        artifact: With a model or without one; numbers that it has already are kept.
        dataset: Val and test images that the model classifies.
        graph: Its `.tflite` file, where that has been read already.
        rows: Its ledger, where that has been made already.
        objective: The score that choices on val go by.

    Returns:
        The artifact with its metrics (see the functions below), and with its `evaluation`,
        `per_class`, all its `scores` on test, the `ledger` and, if it only guesses, `guessing` in
        its details; unchanged where it has no model. Its directory gets the answers for each image.
    """
    path = artifact.model_path
    if path is None:
        return artifact
    if path.suffix == ".tflite":
        content = path.read_bytes()
        graph = graph or read(content)
        rows = rows or ledger.of_tflite(graph)
        numbers = tflite_numbers(graph, rows)
        scores = partial(tflite_scores, Runner(content, threads=2, graph=graph))
    else:
        model = keras_file.load(path)
        content = convert.convert_float(model)
        rows = rows or ledger.of_keras(model)
        numbers = keras_numbers(model, rows)
        scores = partial(keras_scores, model)
    test, labels = scores(dataset.test), dataset.test.labels
    known = _known_on_val(artifact, objective)
    val = None if known else scores(dataset.val)
    every = intervals.every(labels, test)
    metrics = {
        **(known if val is None else of_part("val", objective, dataset.val.labels, val)),
        **_on_test(every, objective),
        **numbers,
        "size_bytes": len(content),
        "gzip_bytes": gzip_bytes(content),
        # accuracy takes two threads, latency is that of one: this needs another interpreter
        "latency_ms": Runner(content, graph=graph).latency_ms(),
    }
    if artifact.details.parity:
        metrics["parity_agreement"] = artifact.details.parity["agreement"]
    measured = artifact.model_copy(update={"metrics": {**metrics, **artifact.metrics}})
    told = _told(measured, dataset, objective, every)
    on_val = None if val is None else (dataset.val.labels, val)
    said, per_class, answers = evaluation.evaluated((labels, test), on_val, dataset.class_names)
    answers.save(artifact.directory)
    return measured.telling(per_class=per_class, ledger=rows, evaluation=said, **told)


def _told(
    measured: Artifact,
    dataset: Dataset,
    objective: Objective,
    every: Mapping[Objective, Interval],
) -> dict[str, Any]:
    """What the details say of the scores: all of them, the objective, whether it only guesses."""
    guess = guessing.judged(measured, dataset, objective)
    told: dict[str, Any] = {"guessing": guess} if guess else {}
    if objective != "accuracy":
        told["objective"] = objective
    told["scores"] = [{"score": name, **one._asdict()} for name, one in every.items()]
    return told


def _known_on_val(artifact: Artifact, objective: Objective) -> dict[str, float]:
    """Val accuracy and the objective on val, where the stage or the guardrail has measured them."""
    names = ("val_accuracy", f"val_{objective}")
    if not {*names} <= {*artifact.metrics}:
        return {}
    return {name: artifact.metrics[name] for name in names}


def _on_test(every: Mapping[Objective, Interval], objective: Objective) -> dict[str, float]:
    """Test accuracy and the objective on test, by name, and the ends of their intervals."""
    names: tuple[Objective, ...] = ("accuracy", objective)
    found: dict[str, float] = {}
    for name in dict.fromkeys(names):
        value, low, high = every[name]
        found |= {f"test_{name}": value, f"test_{name}_low": low, f"test_{name}_high": high}
    return found


def val_scores(artifact: Artifact, dataset: Dataset, objective: Objective) -> dict[str, float]:
    """Val accuracy of the model of an artifact, and its objective on val, by their names."""
    if objective == "accuracy":
        return {"val_accuracy": val_accuracy(artifact, dataset)}
    labels = dataset.val.labels
    return of_part("val", objective, labels, _scores(artifact, dataset.val))


def val_accuracy(artifact: Artifact, dataset: Dataset) -> float:
    """Fraction of the val images that the model of an artifact classifies correctly."""
    scores = _scores(artifact, dataset.val)
    return float(np.mean(classes(scores) == dataset.val.labels))


def _scores(artifact: Artifact, split: Split) -> np.ndarray:
    path = artifact.model_path
    if path is None:
        raise ValueError(f"no model to measure. Received: {artifact.directory}")
    if path.suffix == ".tflite":
        return tflite_scores(Runner(path.read_bytes(), threads=2), split)
    return keras_scores(keras_file.load(path), split)


def keras_numbers(model: keras.Model, rows: Sequence[LedgerRow]) -> dict[str, float]:
    """Count a Keras model: params, nonzero_params, sparsity, distinct_weights, macs, flops.

    Args:
        model: Of any kind that `pipeline.graph.complexity` counts.
        rows: Its ledger, by `ledger.of_keras`.
    """
    profile = complexity.profile(model)
    zeros = sum(int(np.sum(np.asarray(w) == 0)) for w in model.trainable_weights)
    return {
        "params": profile.params,
        "nonzero_params": profile.params - zeros,
        **_structure(rows, COMPRESSIBLE),
        "macs": profile.macs,
        "flops": profile.flops,
    }


def tflite_numbers(graph: Graph, rows: Sequence[LedgerRow]) -> dict[str, float]:
    """Count a `.tflite` file.

    Args:
        graph: The file; its params are constant kernels and biases, with normalization folded in.
        rows: Its ledger, by `ledger.of_tflite`.
    """
    seen: dict[int, np.ndarray] = {}
    for op in graph.operators:
        if op.kernel is not None:
            seen.update({id(t): t.data for t in op.inputs if t.data is not None})
    macs = sum(op.macs for op in graph.operators)
    return {
        "params": sum(values.size for values in seen.values()),
        "nonzero_params": sum(int(np.count_nonzero(values)) for values in seen.values()),
        **_structure(rows, COMPRESSIBLE_OPERATORS),
        "macs": macs,
        "flops": 2 * macs,
    }


def keras_hits(model: keras.Model, split: Split) -> np.ndarray:
    """Whether the scores of each image name the class of its label, bool `[N]`."""
    return np.asarray(classes(keras_scores(model, split)) == split.labels)


def keras_scores(model: keras.Model, split: Split) -> np.ndarray:
    """The scores of each image, `[N, K]`."""
    found = model.predict(stream(split, 256).map(lambda x, _: x), verbose=0)
    return np.asarray(found)


def tflite_hits(runner: Runner, split: Split) -> np.ndarray:
    """Whether the scores of each image name the class of its label, bool `[N]`."""
    return np.asarray(tflite_classes(runner, split) == split.labels)


def tflite_classes(runner: Runner, split: Split) -> np.ndarray:
    """The class of each image, `[N]`."""
    return classes(tflite_scores(runner, split))


def tflite_scores(runner: Runner, split: Split) -> np.ndarray:
    """The scores of each image, `[N, K]`."""
    return runner.scores(_images(split))


def gzip_bytes(content: bytes) -> int:
    """Size after `gzip -9`: what a download of the file costs."""
    return len(gzip.compress(content, 9, mtime=0))


def _structure(rows: Iterable[LedgerRow], kinds: Sequence[str]) -> dict[str, float]:
    """Fraction of zeros over all kernels of some kinds, and most distinct values within one."""
    known = [row for row in rows if row["kind"] in kinds]
    zeros = sum(row["sparsity"] * row["weights"] for row in known)
    return {
        "sparsity": zeros / max(1, sum(row["weights"] for row in known)),
        "distinct_weights": max((row["distinct"] for row in known), default=0),
    }


def _images(split: Split) -> Iterable[np.ndarray]:
    return (split.images[row] for row in split.index)
