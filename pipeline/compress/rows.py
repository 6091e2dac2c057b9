"""Rows that tell what was done to each kernel of a model."""

from typing import Any

import keras
import numpy as np

from pipeline.graph import structure, walk


def kernel_rows(model: keras.Model) -> list[dict[str, Any]]:
    """A row per layer with a kernel: its zeros and distinct values; not yet what was done to it."""
    return [
        kernel_row(layer.name, layer, layer.kernel, "", None)
        for layer in walk.layers(model)
        if getattr(layer, "weights", None) and hasattr(layer, "kernel")
    ]


def kernel_row(
    name: str, layer: Any, kernel: Any, treatment: str, reason: str | None
) -> dict[str, Any]:
    """What was done to one kernel, or the reason why nothing was, its zeros and distinct values."""
    return {
        "layer": name,
        "kind": type(layer).__name__,
        "treatment": "skipped" if reason else treatment,
        "reason": reason,
        **structure.counts(np.asarray(kernel)),
    }
