"""Show what a model costs: as a table for people, as JSON for programs."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.graph import complexity, keras_file
from search_spaces import published

FLOAT_BYTES = 4
SORTS = ("params", "macs", "activation_bytes", "receptive_field")


def of(name: str) -> complexity.Profile:
    """Count a published network by name, or a `.keras` file by path.

    Raises:
        RecipeError: no network of that name.
        ModelError: the file is not one, or holds what cannot be counted.
    """
    path = Path(name)
    if path.exists() or path.suffix or len(path.parts) > 1:
        return of_file(path)
    family, network = published.find(name)
    return complexity.count(family, network.arch, network.input_shape, network.num_classes)


def of_file(path: Path) -> complexity.Profile:
    """Count a `.keras` file.

    Raises:
        ModelError: it is not one, or holds what cannot be counted.
    """
    return complexity.profile(keras_file.from_file(path))


def as_json(profile: complexity.Profile, batch: int = 1, sort: str | None = None) -> dict[str, Any]:
    """The profile as plain data.

    Args:
        batch: Images at once; multiplies MACs, FLOPs and activations.
        sort: One of `SORTS`, largest first; None: in the order of execution.
    """
    rows: list[dict[str, Any]] = [
        {
            "name": layer.name,
            "kind": layer.kind,
            "output_shape": list(layer.output_shape),
            "params": layer.params,
            "trainable_params": layer.trainable_params,
            "macs": batch * layer.macs,
            "flops": batch * layer.flops,
            "activation_bytes": batch * FLOAT_BYTES * layer.activations,
            "receptive_field": layer.receptive_field,
        }
        for layer in profile.layers
    ]
    if sort:
        # a receptive field of None is the whole image, the largest there is
        rows.sort(key=lambda row: math.inf if row[sort] is None else row[sort], reverse=True)
    return {
        "params": profile.params,
        "trainable_params": profile.trainable_params,
        "float32_bytes": FLOAT_BYTES * profile.params,
        "int8_bytes": profile.params,
        "macs": batch * profile.macs,
        "flops": batch * profile.flops,
        "activation_bytes": batch * FLOAT_BYTES * profile.activations,
        "peak_activation_bytes": batch * FLOAT_BYTES * profile.peak_activations,
        "layers": rows,
    }


def as_table(profile: complexity.Profile, batch: int = 1, sort: str | None = None) -> str:
    """A row per layer, and what `as_json` says of the whole model."""
    counted = as_json(profile, batch, sort)
    numbers = ("params", "macs", "flops", "activation_bytes")
    titles = ("params", "MACs", "FLOPs", "activation bytes", "receptive field")
    table = Table("layer", "kind", "output shape", *titles, box=None, pad_edge=False)
    for column in table.columns[3:]:
        column.justify = "right"
    for row in counted["layers"]:
        shape = "x".join(map(str, row["output_shape"]))
        field = "all" if row["receptive_field"] is None else str(row["receptive_field"])
        table.add_row(row["name"], row["kind"], shape, *_cells(row, numbers), field)
    table.add_row("total", "", "", *_cells(counted, numbers), "-", style="bold")
    console = Console(width=160)
    with console.capture() as captured:
        console.print(table)
    text = "\n".join(line.rstrip() for line in captured.get().splitlines())
    return (
        f"{text}\n{counted['trainable_params']:,} of all parameters are trained; all take "
        f"{counted['float32_bytes']:,} bytes as float32, {counted['int8_bytes']:,} as int8. The "
        f"most activations alive at once take {counted['peak_activation_bytes']:,} bytes as float32"
    )


def _cells(row: dict[str, Any], keys: Sequence[str]) -> list[str]:
    return [f"{row[key]:,}" for key in keys]
