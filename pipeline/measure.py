"""One definition of every compared number.

size_bytes and latency_ms belong to the `.tflite` file that would ship if the pipeline stopped
there: float32 before quantization, int8 after it.
"""

import gzip
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from pipeline import complexity, litert
from pipeline.artifact import Artifact
from pipeline.data import Dataset, Split, stream

# Layers whose kernels pruning and clustering change (and so `sparsity`, `distinct_weights`).
COMPRESSIBLE = ("Conv2D", "Conv2DTranspose", "Dense")
COMPRESSIBLE_OPERATORS = ("CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")


def measure(artifact: Artifact, dataset: Dataset) -> tuple[dict[str, float], dict[str, Any]]:
    """Measure the model of an artifact.

    Returns:
        Numbers (see the functions below), and `per_class` for the report. Both are empty for an
        artifact without a model.
    """
    path = artifact.model_path
    if path is None:
        return {}, {}
    if path.suffix == ".tflite":
        content = path.read_bytes()
        numbers = tflite_numbers(litert.read(content))
        runner = litert.Runner(content, threads=2)
        val, test = (tflite_hits(runner, split) for split in (dataset.val, dataset.test))
    else:
        model = keras.models.load_model(path, compile=False)
        content = litert.convert_float(model)
        numbers = keras_numbers(model)
        val, test = keras_hits(model, dataset.val), keras_hits(model, dataset.test)
    metrics = {
        "val_accuracy": float(val.mean()),
        "test_accuracy": float(test.mean()),
        **numbers,
        "size_bytes": len(content),
        "gzip_bytes": gzip_bytes(content),
        "latency_ms": litert.Runner(content).latency_ms(),
    }
    return metrics, {"per_class": _per_class(test, dataset)}


def keras_numbers(model: keras.Model) -> dict[str, float]:
    """Count a Keras model: params, nonzero_params, sparsity, distinct_weights, macs, flops."""
    profile = complexity.profile(model)
    kernels = [
        np.asarray(layer.kernel)
        for layer, _, _ in complexity.calls(model)
        if type(layer).__name__ in COMPRESSIBLE
    ]
    zeros = sum(int(np.sum(np.asarray(w) == 0)) for w in model.trainable_weights)
    return {
        "params": profile.params,
        "nonzero_params": profile.params - zeros,
        **_structure(kernels),
        "macs": profile.macs,
        "flops": profile.flops,
    }


def tflite_numbers(graph: litert.Graph) -> dict[str, float]:
    """Count a `.tflite` file; params are its constant kernels and biases, norms folded in."""
    seen: dict[int, np.ndarray] = {}
    for op in graph.operators:
        if op.kernel is not None:
            seen.update({id(t): t.data for t in op.inputs if t.data is not None})
    kernels = [
        op.kernel.data
        for op in graph.operators
        if op.name in COMPRESSIBLE_OPERATORS and op.kernel is not None
    ]
    macs = sum(op.macs for op in graph.operators)
    return {
        "params": sum(values.size for values in seen.values()),
        "nonzero_params": sum(int(np.count_nonzero(values)) for values in seen.values()),
        **_structure(kernels),
        "macs": macs,
        "flops": 2 * macs,
    }


def keras_hits(model: keras.Model, split: Split) -> np.ndarray:
    """Whether the highest score of each image is that of its label, bool `[N]`."""
    scores = model.predict(stream(split, 256).map(lambda x, _: x), verbose=0)
    return _hits(scores, split)


def tflite_hits(runner: litert.Runner, split: Split) -> np.ndarray:
    """Whether the highest score of each image is that of its label, bool `[N]`."""
    return _hits(runner.scores(_images(split)), split)


def kernel_rows(model: keras.Model, treated: Sequence[str], treatment: str) -> list[dict[str, Any]]:
    """A row per layer with a kernel: what was done to it, its zeros and distinct values."""
    rows = []
    for layer, _, _ in complexity.calls(model):
        if not getattr(layer, "weights", None) or not hasattr(layer, "kernel"):
            continue
        kind = type(layer).__name__
        kernel = np.asarray(layer.kernel)
        rows.append(
            {
                "layer": layer.name,
                "kind": kind,
                "treatment": treatment if kind in treated else "skipped",
                "reason": None if kind in treated else f"tfmot has no rule for {kind}",
                "sparsity": float(np.mean(kernel == 0)),
                "distinct": len(np.unique(kernel)),
            }
        )
    return rows


def gzip_bytes(content: bytes) -> int:
    """Size after `gzip -9`: what a download of the file costs."""
    return len(gzip.compress(content, 9, mtime=0))


def _structure(kernels: Iterable[np.ndarray | None]) -> dict[str, float]:
    """Fraction of zeros over all kernels, and most distinct values within one."""
    known = [kernel for kernel in kernels if kernel is not None]
    if not known:
        return {"sparsity": 0.0, "distinct_weights": 0}
    zeros = sum(int(np.sum(kernel == 0)) for kernel in known)
    return {
        "sparsity": zeros / sum(kernel.size for kernel in known),
        "distinct_weights": max(len(np.unique(kernel)) for kernel in known),
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
