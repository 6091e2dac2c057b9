"""What every operator of the exported file computes, holds and takes."""

import logging

import numpy as np

from pipeline.bench import operators
from pipeline.errors import ModelError
from pipeline.measured import OperatorRow
from pipeline.tflite.read import BYTES, Graph, Operator

SECONDS = 2.0  # to spend on timing all of them
log = logging.getLogger("flopsmith")


def rows(content: bytes, graph: Graph) -> list[OperatorRow]:
    """A row per operator, in the order of the file.

    Args:
        content: A `.tflite` file whose tensors have names.
        graph: The same file.
    """
    maker = {id(made): op.index for op in graph.operators for made in op.outputs}
    try:
        times = operators.times(content, graph, 1, SECONDS)
        taken = {one.index: one.microseconds for one in times}
    except ModelError as error:
        log.warning("export: operators were not timed: %s", error)
        taken = {}
    return [_row(op, maker, taken.get(op.index)) for op in graph.operators]


def _row(op: Operator, maker: dict[int, int], microseconds: float | None) -> OperatorRow:
    constants = [tensor for tensor in op.inputs if tensor.data is not None]
    kernel = op.kernel
    data = None if kernel is None else kernel.data
    made = op.outputs[0] if op.outputs else None
    return {
        "index": op.index,
        "kind": op.name,
        "layer": operators.layer(made.name) if made else "",
        "shape": [int(side) for side in made.shape] if made else [],
        "reads": [maker[id(tensor)] for tensor in op.inputs if id(tensor) in maker],
        "window": _window(op),
        "macs": int(op.macs),
        "bytes": int(sum(np.prod(t.shape) * BYTES.get(t.dtype, 4) for t in constants)),
        "dtype": "" if kernel is None else kernel.dtype.lower(),
        "sparsity": None if data is None else float(np.mean(data == 0)),
        "microseconds": microseconds,
    }


def _window(op: Operator) -> str:
    """The window and stride of a convolution or pooling: "3x3 /2"."""
    stride = int(getattr(op.options, "strideH", 1) or 1)
    if op.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"):
        sides = op.inputs[1].shape[1:3]
    elif op.name in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        sides = (op.options.filterHeight, op.options.filterWidth)
    else:
        return ""
    return "x".join(map(str, sides)) + (f" /{stride}" if stride > 1 else "")
