"""The ledger: what every kernel holds after each stage, and whether a later stage undid an earlier.

It has a row per kernel, `pipeline.details.LedgerRow`. A stage declares in its `Config` which
structure it makes and later stages must keep: `protects = "zeros"`, or `"clusters"`.
"""

from collections import Counter
from collections.abc import Sequence

import keras
import numpy as np

from pipeline import stage
from pipeline.artifact import Artifact
from pipeline.details import LedgerRow
from pipeline.errors import ModelError
from pipeline.graph import structure
from pipeline.tflite.read import Graph, Operator, named_after

KEPT = 0.9  # least fraction of the zeros that must be left in a kernel of the same shape
# least fraction of the sparsity that must be left in a kernel of another shape: where channels are
# removed, their zeros go with them
KEPT_ELSEWHERE = 0.5
FEWEST = 0.02  # sparsity from which zeros are taken to be made on purpose
ROLES = {"TRANSPOSE_CONV": ("shape", "kernel", "input", "bias")}  # what an operator's inputs are
UNDID = "undid what was done before to layer"


def of_keras(model: keras.Model) -> list[LedgerRow]:
    """The rows of a Keras model, in the order of its layers.

    A row is named after its layer; where a layer has several kernels, or two layers have one name,
    after the kernel's path.
    """
    found = list(structure.kernels(model))
    often = Counter(layer.name for layer, _ in found)
    rows = []
    for layer, variable in found:
        alone = often[layer.name] == 1
        dtypes = {"kernel": str(variable.dtype)}
        if alone:
            dtypes |= {w.name: str(w.dtype) for w in layer.weights if w is not variable}
        row: LedgerRow = {
            "layer": layer.name if alone else variable.path.removesuffix("/kernel"),
            "kind": type(layer).__name__,
            **structure.counts(np.asarray(variable)),  # type: ignore[typeddict-item]
            "dtypes": dtypes,
        }
        rows.append(row)
    return rows


def of_tflite(graph: Graph) -> list[LedgerRow]:
    """The rows of a `.tflite` file, under the names of the kernels' tensors."""
    rows: dict[int, LedgerRow] = {}
    for op in graph.operators:
        kernel = op.kernel
        if kernel is None or kernel.data is None or id(kernel) in rows:
            continue
        rows[id(kernel)] = {
            "layer": kernel.name,
            "kind": op.name,
            **structure.counts(kernel.data),  # type: ignore[typeddict-item]
            # a normalization with a negative factor turns the signs of its channel
            "sizes": len(np.unique(np.abs(kernel.data.astype(np.float64)))),
            "also": ";".join(t.name for t in (op.outputs[0], *op.inputs[2:]) if t is not kernel),
            "dtypes": _dtypes(op),
        }
    return list(rows.values())


def _dtypes(op: Operator) -> dict[str, str]:
    roles = ROLES.get(op.name, ("input", "kernel", "bias"))
    pairs = zip(roles, op.inputs, strict=False)
    return {role: t.dtype.lower() for role, t in pairs if t.data is not None}


def named(rows: Sequence[LedgerRow], known: Sequence[LedgerRow]) -> list[LedgerRow]:
    """Give the rows of a `.tflite` the names of Keras layers.

    A kernel belongs to the layer that its tensor is named after, also where that has a kernel for
    each of its calls; failing that, to the first layer not yet taken that has as many weights. A
    kernel that fits no layer keeps its tensor's name.

    Args:
        rows: Of `of_tflite`, in the order of the file.
        known: Of a Keras model that the file was made of, in the order of its layers.
    """
    sizes = {row["layer"]: row["weights"] for row in known}
    found: dict[int, str] = {}
    for place, row in enumerate(rows):
        fits = [n for n in sizes if sizes[n] == row["weights"]]
        free = [n for n in fits if n not in found.values()]
        names = named_after(row["layer"], free) or named_after(row["also"], free)
        names = names or named_after(row["layer"], fits)  # a second kernel of one layer
        if names:
            found[place] = min(names, key=fits.index)
    for place, row in enumerate(rows):
        free = [n for n in sizes if n not in found.values() and sizes[n] == row["weights"]]
        if place not in found and free:
            found[place] = free[0]
    renamed = [row.copy() for row in rows]
    for place, row in enumerate(renamed):
        row["layer"] = found.get(place, row["layer"])
        row.pop("also", None)
    return renamed


def checked(rows: Sequence[LedgerRow], name: str, earlier: Sequence[Artifact]) -> list[LedgerRow]:
    """Compare what a stage left with what earlier stages left, kernel by kernel.

    Args:
        rows: Of `of_keras` or `of_tflite`.
        name: Of the stage.
        earlier: Artifacts of the stages before it, in order.

    Returns:
        The rows, under the names of Keras layers.

    Raises:
        ModelError: zeros or shared values that an earlier stage protects are gone.
    """
    listed = [a for a in earlier if a.details.ledger]
    is_file = any("also" in row for row in rows)
    if is_file:
        known = [a for a in listed if a.model_file and a.model_file.endswith(".keras")]
        rows = named(rows, known[-1].details.ledger if known else [])
    before: dict[str, LedgerRow] = {}
    protectors: dict[stage.Structure, str] = {}  # the first stage that protects such a structure
    for artifact in listed:
        if kept := stage.load(artifact.stage).Config.protects:
            protectors.setdefault(kept, artifact.stage)
        before |= {row["layer"]: row for row in artifact.details.ledger}
    for row in rows:
        was = before.get(row["layer"])
        if was is not None and "zeros" in protectors:
            _compare_zeros(was, row, name, protectors["zeros"])
        # a float file has the factors of normalization in its kernels
        is_folded = is_file and row["dtypes"]["kernel"] == "float32"
        if was is not None and "clusters" in protectors and not is_folded:
            _compare_values(was, row, name, protectors["clusters"])
    return list(rows)


def _compare_zeros(was: LedgerRow, row: LedgerRow, name: str, protector: str) -> None:
    """Refuse a layer whose zeros stage `name` has lost."""
    least = was["sparsity"] * (KEPT if was["weights"] == row["weights"] else KEPT_ELSEWHERE)
    if was["sparsity"] >= FEWEST and row["sparsity"] < least:
        raise ModelError(
            f"{name} {UNDID} {row['layer']!r}. Received: {row['sparsity']:.1%} zeros, "
            f"{was['sparsity']:.1%} before. Put {name} before {protector}, or leave it out"
        )


def _compare_values(was: LedgerRow, row: LedgerRow, name: str, protector: str) -> None:
    """Refuse a layer whose shared values stage `name` has made different."""
    shared = was["distinct"] < was["weights"] * (1 - was["sparsity"])
    few = shared and was["distinct"] <= structure.MOST_CLUSTERS
    now = row.get("sizes", row["distinct"])
    if few and now > was["distinct"]:
        raise ModelError(
            f"{name} {UNDID} {row['layer']!r}. Received: {row['distinct']} distinct values, "
            f"{was['distinct']} before. "
            + (
                "Let quantize train, which keeps them: quantize.method=qat"
                if row["dtypes"]["kernel"] in ("int4", "int8")
                else f"Put {name} before {protector}, or leave it out"
            )
        )
