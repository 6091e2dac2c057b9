"""Networks that end with one dense layer on features averaged over all places.

Where a class is seen can be read off such a network: the score of a class is the mean over all
places of its own weighted sum of the features there.

Source:  class activation maps, Zhou et al. 2016, section 2, https://arxiv.org/abs/1512.04150.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.tflite import write
from pipeline.tflite.read import Graph, Operator, Tensor, read

Floats = npt.NDArray[np.floating[Any]]
PASSED = ("RESHAPE", "SQUEEZE", "QUANTIZE", "DEQUANTIZE")  # between the mean and the dense layer


@dataclass(frozen=True)
class Averaging:
    """What is averaged, and what reads the mean."""

    features: Tensor  # [1, h, w, c]
    weights: Floats  # [c, K]


def find(graph: Graph) -> Averaging | None:
    """The features and weights of a `.tflite` classifier; None: it does not end like that."""
    mean = next((op for op in graph.operators if _averages(op)), None)
    if mean is None:
        return None
    value, dense = mean.outputs[0], None
    for op in graph.operators:
        if not any(one is value for one in op.inputs):
            continue
        if op.name == "FULLY_CONNECTED":
            dense = op
            break
        if op.name not in PASSED:
            return None
        value = op.outputs[0]
    if dense is None or dense.inputs[1].data is None:
        return None
    if any(op.index > dense.index and op.kernel is not None for op in graph.operators):
        return None
    return Averaging(mean.inputs[0], _real(dense.inputs[1]).T)


def exposed(model: bytes) -> tuple[bytes, Averaging] | None:
    """A file that also gives the features, in float32 `[1, h, w, c]`, as its last output.

    None where it does not end with a dense layer on averaged features.

    Raises:
        ModelError: the bytes are not a whole `.tflite` file.
    """
    found = find(read(model))
    if found is None:
        return None
    return write.changed(model, lambda root: _give(root, found.features)), found


def _give(root: Any, features: Tensor) -> None:
    from ai_edge_litert import schema_py_generated as schema

    graph, index = root.subgraphs[0], features.index
    if features.dtype != "FLOAT32":
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
        code.version = 2  # the first that takes int8
        root.operatorCodes = [*root.operatorCodes, code]
        real = schema.TensorT()
        real.shape, real.type, real.buffer = list(features.shape), schema.TensorType.FLOAT32, 0
        real.name = b"features"
        graph.tensors = [*graph.tensors, real]
        op = schema.OperatorT()
        op.opcodeIndex = len(root.operatorCodes) - 1
        op.inputs, op.outputs = [index], [len(graph.tensors) - 1]
        graph.operators = [*graph.operators, op]
        index = len(graph.tensors) - 1
    graph.outputs = np.array([*graph.outputs, index], np.int32)
    for signature in root.signatureDefs or ():
        end = schema.TensorMapT()
        end.name, end.tensorIndex = b"features", index
        signature.outputs = [*signature.outputs, end]


def _averages(op: Operator) -> bool:
    """Whether an operator averages over all places of an image."""
    if not op.inputs or len(op.inputs[0].shape) != 4 or op.name not in ("MEAN", "AVERAGE_POOL_2D"):
        return False
    if op.name == "MEAN":
        axes = op.inputs[1].data
        return axes is not None and {int(a) % 4 for a in np.ravel(axes)} == {1, 2}
    return tuple(op.outputs[0].shape[1:3]) == (1, 1)


def _real(tensor: Any) -> Floats:
    """The values of constant weights `[K, c]`."""
    data = np.asarray(tensor.data, np.float32)
    scales = np.asarray(tensor.scales, np.float32)
    if not scales.size:
        return data
    zeros = np.asarray(tensor.zero_points, np.float32)
    return (data - zeros.reshape(-1, 1)) * scales.reshape(-1, 1)
