"""The ledger: what every kernel holds after each stage, and whether a later stage undid an earlier.

A row per kernel: `layer` by its name in Keras, `kind`, `weights` (how many), `sparsity` (share of
zeros), `distinct` (values), of a file `sizes` (distinct values without their signs), and `dtypes`
(of the layer's constants, by role).
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from pipeline.artifact import Artifact
from pipeline.errors import ModelError
from pipeline.graph import structure
from pipeline.tflite.read import Graph, Operator, named_after

KEPT = 0.9  # of the zeros, while a kernel keeps its shape: fewer are noticeably fewer
KEPT_ELSEWHERE = 0.5  # of their share, where its shape changes: channels go, with their zeros
FEWEST = 0.02  # share of zeros that was made on purpose
ROLES = {"TRANSPOSE_CONV": ("shape", "kernel", "input", "bias")}  # of an operator's inputs
UNDID = "undid what was done before to layer"
Row = dict[str, Any]


def of_keras(model: keras.Model) -> list[Row]:
    """The rows of a Keras model; kernels of one layer, or of two with one name, have their path."""
    found = list(structure.kernels(model))
    often = Counter(layer.name for layer, _ in found)
    rows = []
    for layer, variable in found:
        alone = often[layer.name] == 1
        name = layer.name if alone else variable.path.removesuffix("/kernel")
        own = {"kernel": str(variable.dtype)}
        if alone:
            own |= {w.name: str(w.dtype) for w in layer.weights if w is not variable}
        rows.append(
            {"layer": name, "kind": type(layer).__name__, **structure.counts(np.asarray(variable))}
        )
        rows[-1]["dtypes"] = own
    return rows


def of_tflite(graph: Graph) -> list[Row]:
    """The rows of a `.tflite` file, under the names of the kernels' tensors."""
    rows = {}
    for op in graph.operators:
        kernel = op.kernel
        if kernel is not None and kernel.data is not None and id(kernel) not in rows:
            row = {"layer": kernel.name, "kind": op.name, **structure.counts(kernel.data)}
            also = ";".join(t.name for t in (op.outputs[0], *op.inputs[2:]) if t is not kernel)
            # a normalization with a negative factor turns the signs of its channel
            sizes = len(np.unique(np.abs(kernel.data.astype(np.float64))))
            rows[id(kernel)] = {**row, "sizes": sizes, "also": also, "dtypes": _dtypes(op)}
    return list(rows.values())


def _dtypes(op: Operator) -> dict[str, str]:
    roles = ROLES.get(op.name, ("input", "kernel", "bias"))
    pairs = zip(roles, op.inputs, strict=False)
    return {role: t.dtype.lower() for role, t in pairs if t.data is not None}


def named(rows: Sequence[Row], known: Sequence[Row]) -> list[Row]:
    """Give the rows of a `.tflite` the names of Keras layers.

    By the name of the tensor; where that does not tell, to the first layer left that has as many
    weights. What matches none keeps the name of its tensor.

    Args:
        rows: Of `of_tflite`, in the order of the file.
        known: Of a Keras model that the file was made of, in the order of its layers.
    """
    sizes = {row["layer"]: row["weights"] for row in known}
    found: dict[int, str] = {}
    for place, row in enumerate(rows):
        free = [n for n in sizes if n not in found.values() and sizes[n] == row["weights"]]
        names = named_after(row["layer"], free) or named_after(row["also"], free)
        if names:
            found[place] = min(names, key=free.index)
    for place, row in enumerate(rows):
        free = [n for n in sizes if n not in found.values() and sizes[n] == row["weights"]]
        if place not in found and free:
            found[place] = free[0]
    made = [{**row, "layer": found.get(place, row["layer"])} for place, row in enumerate(rows)]
    return [{key: value for key, value in row.items() if key != "also"} for row in made]


def checked(rows: Sequence[Row], stage: str, earlier: Sequence[Artifact]) -> list[Row]:
    """The rows of what a stage left, by names of layers, compared with those of earlier stages.

    Args:
        rows: Of `of_keras` or `of_tflite`.
        stage: Name of the stage.
        earlier: Artifacts of the stages before it, in order.

    Raises:
        ModelError: zeros that were pruned, or values that were clustered, are gone.
    """
    listed = [a for a in earlier if a.details.get("ledger")]
    is_file = any("also" in row for row in rows)
    if is_file:
        known = [a for a in listed if a.model_file and a.model_file.endswith(".keras")]
        rows = named(rows, known[-1].details["ledger"] if known else [])
    before: dict[str, Row] = {}
    stages = set()
    for artifact in listed:
        stages.add(artifact.stage)
        before |= {row["layer"]: row for row in artifact.details["ledger"]}
    for row in rows:
        if row["layer"] in before:
            was = before[row["layer"]]
            _compare_zeros(was, row, stage, stages)
            # a float file has the factors of normalization in its kernels
            if not is_file or row["dtypes"]["kernel"] != "float32":
                _compare_values(was, row, stage, stages)
    return list(rows)


def _compare_zeros(was: Row, row: Row, stage: str, stages: set[str]) -> None:
    """Refuse a layer whose zeros a stage has lost."""
    least = was["sparsity"] * (KEPT if was["weights"] == row["weights"] else KEPT_ELSEWHERE)
    if "prune" in stages and was["sparsity"] >= FEWEST and row["sparsity"] < least:
        raise ModelError(
            f"{stage} {UNDID} {row['layer']!r}. Received: {row['sparsity']:.1%} zeros, "
            f"{was['sparsity']:.1%} before. Put {stage} before prune, or leave it out"
        )


def _compare_values(was: Row, row: Row, stage: str, stages: set[str]) -> None:
    """Refuse a layer whose shared values a stage has parted."""
    shared = was["distinct"] < was["weights"] * (1 - was["sparsity"])
    few = shared and was["distinct"] <= structure.MOST_CLUSTERS
    now = row.get("sizes", row["distinct"])
    if "cluster" in stages and few and now > was["distinct"]:
        raise ModelError(
            f"{stage} {UNDID} {row['layer']!r}. Received: {row['distinct']} distinct values, "
            f"{was['distinct']} before. "
            + (
                "Let quantize train, which keeps them: quantize.method=qat"
                if row["dtypes"]["kernel"] in ("int4", "int8")
                else f"Put {stage} before cluster, or leave it out"
            )
        )
