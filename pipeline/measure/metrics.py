"""One definition of every compared number.

size_bytes and latency_ms belong to the `.tflite` file that would ship if the pipeline stopped
there: float32 before quantization, int8 after it.
"""

import gzip
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np

from pipeline.artifact import Artifact
from pipeline.data.datasets import Dataset, Split
from pipeline.data.stream import stream
from pipeline.graph import complexity
from pipeline.measure import ledger
from pipeline.tflite import convert
from pipeline.tflite.classifier import Runner
from pipeline.tflite.read import Graph, read

# Layers whose kernels pruning and clustering change (and so `sparsity`, `distinct_weights`).
COMPRESSIBLE = ("Conv2D", "Conv2DTranspose", "Dense")
COMPRESSIBLE_OPERATORS = ("CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")


def measure(artifact: Artifact, dataset: Dataset) -> tuple[dict[str, float], dict[str, Any]]:
    """Measure the model of an artifact.

    Returns:
        Numbers (see the functions below), and `per_class` and the `ledger` for the report. Both
        are empty for an artifact without a model.
    """
    path = artifact.model_path
    if path is None:
        return {}, {}
    if path.suffix == ".tflite":
        content = path.read_bytes()
        graph = read(content)
        numbers, rows = tflite_numbers(graph), ledger.of_tflite(graph)
        hits = partial(tflite_hits, Runner(content, threads=2))
    else:
        model = keras.models.load_model(path, compile=False)
        content = convert.convert_float(model)
        numbers, rows = keras_numbers(model), ledger.of_keras(model)
        hits = partial(keras_hits, model)
    known = artifact.metrics.get("val_accuracy")  # where the guardrail has measured it
    test = hits(dataset.test)
    metrics = {
        "val_accuracy": float(hits(dataset.val).mean()) if known is None else known,
        "test_accuracy": float(test.mean()),
        **numbers,
        "size_bytes": len(content),
        "gzip_bytes": gzip_bytes(content),
        "latency_ms": Runner(content).latency_ms(),
    }
    if same := artifact.details.get("parity"):
        metrics["parity_agreement"] = same["agreement"]
    return metrics, {"per_class": _per_class(test, dataset), "ledger": rows}


def val_accuracy(artifact: Artifact, dataset: Dataset) -> float:
    """Fraction of the val images that the model of an artifact classifies correctly."""
    path = artifact.model_path
    if path is None:
        raise ValueError(f"no model to measure. Received: {artifact.directory}")
    if path.suffix == ".tflite":
        hits = tflite_hits(Runner(path.read_bytes(), threads=2), dataset.val)
    else:
        hits = keras_hits(keras.models.load_model(path, compile=False), dataset.val)
    return float(hits.mean())


def keras_numbers(model: keras.Model) -> dict[str, float]:
    """Count a Keras model: params, nonzero_params, sparsity, distinct_weights, macs, flops."""
    profile = complexity.profile(model)
    zeros = sum(int(np.sum(np.asarray(w) == 0)) for w in model.trainable_weights)
    return {
        "params": profile.params,
        "nonzero_params": profile.params - zeros,
        **_structure(ledger.of_keras(model), COMPRESSIBLE),
        "macs": profile.macs,
        "flops": profile.flops,
    }


def tflite_numbers(graph: Graph) -> dict[str, float]:
    """Count a `.tflite` file; params are its constant kernels and biases, norms folded in."""
    seen: dict[int, np.ndarray] = {}
    for op in graph.operators:
        if op.kernel is not None:
            seen.update({id(t): t.data for t in op.inputs if t.data is not None})
    macs = sum(op.macs for op in graph.operators)
    return {
        "params": sum(values.size for values in seen.values()),
        "nonzero_params": sum(int(np.count_nonzero(values)) for values in seen.values()),
        **_structure(ledger.of_tflite(graph), COMPRESSIBLE_OPERATORS),
        "macs": macs,
        "flops": 2 * macs,
    }


def keras_hits(model: keras.Model, split: Split) -> np.ndarray:
    """Whether the highest score of each image is that of its label, bool `[N]`."""
    scores = model.predict(stream(split, 256).map(lambda x, _: x), verbose=0)
    return _hits(scores, split)


def tflite_hits(runner: Runner, split: Split) -> np.ndarray:
    """Whether the highest score of each image is that of its label, bool `[N]`."""
    return np.asarray(tflite_classes(runner, split) == split.labels)


def tflite_classes(runner: Runner, split: Split) -> np.ndarray:
    """The class with the highest score of each image, `[N]`."""
    return np.asarray(np.argmax(runner.scores(_images(split)), axis=-1))


def gzip_bytes(content: bytes) -> int:
    """Size after `gzip -9`: what a download of the file costs."""
    return len(gzip.compress(content, 9, mtime=0))


def _structure(rows: Iterable[ledger.Row], kinds: Sequence[str]) -> dict[str, float]:
    """Fraction of zeros over all kernels of some kinds, and most distinct values within one."""
    known = [row for row in rows if row["kind"] in kinds]
    zeros = sum(row["sparsity"] * row["weights"] for row in known)
    return {
        "sparsity": zeros / max(1, sum(row["weights"] for row in known)),
        "distinct_weights": max((row["distinct"] for row in known), default=0),
    }


def _images(split: Split) -> Iterable[np.ndarray]:
    return (split.images[row] for row in split.index)


def _hits(scores: np.ndarray, split: Split) -> np.ndarray:
    return np.asarray(np.argmax(scores, axis=-1) == split.labels)


def _per_class(hits: np.ndarray, dataset: Dataset) -> list[dict[str, Any]]:
    """Accuracy on the test images of each class."""
    labels = dataset.test.labels
    return [
        {
            "class": name,
            "test_accuracy": float(hits[labels == i].mean()) if np.any(labels == i) else None,
            "test_images": int(np.sum(labels == i)),
        }
        for i, name in enumerate(dataset.class_names)
    ]
