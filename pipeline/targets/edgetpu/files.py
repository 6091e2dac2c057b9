"""Which files the Edge TPU compiler refuses as a whole, and where a prediction may be wrong.

Source:  reports of its users, https://github.com/google-coral/edgetpu/issues.
"""

import math
import re
from collections.abc import Iterable

from pipeline.targets.edgetpu.operators import BYTE_TYPES, UNCERTAIN, is_vector
from pipeline.tflite.read import Graph, Operator

CACHE_BYTES = int(7.9 * 2**20)  # on-chip memory for parameters, approximately
RUNTIME = (2, 5, 0)  # the TensorFlow in the compiler
LAST_VERSIONS = {"CONV_2D": 5, "TRANSPOSE_CONV": 3, "QUANTIZE": 2, "EXP": 1}
MEAN_PLACES = 256 * 128  # such a mean stayed on the CPU; one over 256 x 256 crashed the compiler


def refusal(graph: Graph) -> str | None:
    """Why the compiler refuses the whole file; None if no reason is known."""
    tensors = [t for op in graph.operators for t in (*op.inputs, *op.outputs)]
    if not any(t.dtype in BYTE_TYPES and t.data is None for t in tensors):
        return "the model is not quantized: no operator computes in int8 or uint8"
    for op in graph.operators:
        if _is_grouped(op):
            return f"CONV_2D {op.index} is a grouped convolution, which the compiler is too old for"
    if reason := _too_new(graph):
        return reason
    for tensor in (*graph.inputs, *tensors):
        if tensor.is_dynamic:
            return f"tensor {tensor.name!r} has no fixed shape. Convert with a batch of 1"
    for op in graph.operators:
        if op.name == "FULLY_CONNECTED" and op.kernel is not None and len(op.kernel.scales) > 1:
            return (
                f"FULLY_CONNECTED {op.index} has weights quantized per channel. "
                "Convert with dense layers quantized per tensor"
            )
    return None


def warnings(operators: Iterable[Operator]) -> list[str]:
    """Where the prediction may be wrong for operators that it takes to be mapped."""
    found = [_doubt(op) for op in operators]
    return list(dict.fromkeys(text for text in found if text))


def _doubt(op: Operator) -> str | None:
    shape = op.inputs[0].shape
    where = f"{op.name} {op.index} {list(shape)}"
    if op.name == "MEAN" and math.prod(shape[1:-1]) >= MEAN_PLACES:
        return f"{where}: means over so many places stay on the CPU or crash the compiler"
    if sum(t.bytes for t in (*op.inputs, *op.outputs) if t.data is None) > CACHE_BYTES:
        return f"{where}: the compiler fails on large activations"
    if op.name.startswith("RESIZE_"):
        return f"{where}: may stay on the CPU, depending on sizes and precision"
    if op.name == "RESHAPE" and not (is_vector(op.inputs[0]) or is_vector(op.outputs[0])):
        return f"{where}: may stay on the CPU, depending on sizes"
    if op.name in UNCERTAIN:
        return f"{op.name}: was seen on the TPU, but is not in every version's documentation"
    return None


def _is_grouped(op: Operator) -> bool:
    """Told by the shapes, since some converters write version 1 for every operator."""
    return op.name == "CONV_2D" and op.inputs[0].shape[-1:] != op.inputs[1].shape[-1:]


def _too_new(graph: Graph) -> str | None:
    """Whether operators are of versions that the compiler does not know.

    If all versions are 1 they say nothing: some tools that rewrite a file write them so.
    """
    if all(op.version == 1 for op in graph.operators):
        return None
    for op in graph.operators:
        last = LAST_VERSIONS.get(op.name, op.version)
        if op.version > last:
            return f"{op.name} {op.index} has version {op.version}. The compiler knows {last}"
    note = graph.metadata.get("min_runtime_version", b"").decode("ascii", "replace")
    needs = re.match(r"(\d+)\.(\d+)\.(\d+)", note)
    if needs and tuple(map(int, needs.groups())) > RUNTIME:
        known = ".".join(map(str, RUNTIME))
        return f"an operator needs TensorFlow {needs[0]}. The compiler knows {known}"
    return None
