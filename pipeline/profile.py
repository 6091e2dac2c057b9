"""Show what a model costs: as a table for people, as JSON for programs."""

import zipfile
from pathlib import Path
from typing import Any

import keras
from rich.console import Console
from rich.table import Table

from pipeline import complexity
from pipeline.errors import ModelError

FLOAT_BYTES = 4
UNLOADABLE = (  # what Keras and h5py raise over a damaged file
    AttributeError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
)


def of_file(path: Path) -> complexity.Profile:
    """Count a `.keras` file.

    Raises:
        ModelError: it is not one, or holds what cannot be counted.
    """
    if not zipfile.is_zipfile(path):
        reason = "not a .keras file" if path.exists() else "no such file"
        raise ModelError(f"{reason}. Received: {path}. Expected: a model saved by Keras 3")
    try:
        model = keras.models.load_model(path, compile=False)
    except UNLOADABLE as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(f"{path}: Keras cannot load it: {reason}") from error
    return complexity.profile(model)


def as_json(profile: complexity.Profile) -> dict[str, Any]:
    """The profile as plain data."""
    return {
        "params": profile.params,
        "trainable_params": profile.trainable_params,
        "macs": profile.macs,
        "flops": profile.flops,
        "activation_bytes": FLOAT_BYTES * profile.activations,
        "peak_activation_bytes": FLOAT_BYTES * profile.peak_activations,
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "output_shape": list(layer.output_shape),
                "params": layer.params,
                "macs": layer.macs,
                "flops": layer.flops,
                "activation_bytes": FLOAT_BYTES * layer.activations,
            }
            for layer in profile.layers
        ],
    }


def as_table(profile: complexity.Profile) -> str:
    """A row per layer and a row of totals."""
    columns = ("layer", "kind", "output shape", "params", "MACs", "FLOPs", "activations (bytes)")
    table = Table(*columns, show_footer=False, box=None, pad_edge=False)
    for column in table.columns[3:]:
        column.justify = "right"
    for layer in profile.layers:
        shape = "x".join(map(str, layer.output_shape))
        numbers = (layer.params, layer.macs, layer.flops, FLOAT_BYTES * layer.activations)
        table.add_row(layer.name, layer.kind, shape, *(f"{n:,}" for n in numbers))
    totals = (profile.params, profile.macs, profile.flops, FLOAT_BYTES * profile.activations)
    table.add_row("total", "", "", *(f"{n:,}" for n in totals), style="bold", end_section=True)
    console = Console(width=160)
    with console.capture() as captured:
        console.print(table)
        console.print(
            f"{profile.trainable_params:,} of the parameters are trainable; the most activations "
            f"alive at once take {FLOAT_BYTES * profile.peak_activations:,} bytes"
        )
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
