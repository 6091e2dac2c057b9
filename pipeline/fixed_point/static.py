"""Bounds of the accumulators of an int8 file, from its weights alone: true for every image.

For each filter no sum can be larger than `sum |w_q| * max |x_q - zero_point| + |b|`, in whatever
order it is added up, with all of its parts.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import ModelError
from pipeline.fixed_point.accumulators import signed_bits
from pipeline.tflite import read
from pipeline.tflite.read import FLOATS, KERNEL_OPERATORS, Graph, Operator, Tensor

ENDS = {**read.ENDS, "INT16": (-32768, 32767)}
NARROW, WIDE = 16, 32  # bits
FILTERS = {"DEPTHWISE_CONV_2D": 3}  # axis of the filters of a kernel; 0 for the others
PRODUCTS = (*KERNEL_OPERATORS, "BATCH_MATMUL")


@dataclass(frozen=True)
class Bound:
    """What the accumulators of one operator can reach."""

    index: int
    operator: str
    name: str  # of the tensor that it makes
    pairs: int  # products in a sum
    bounds: tuple[int, ...]  # one per filter; one alone where the weights are computed

    @property
    def bits(self) -> int:
        """Of a signed accumulator that never overflows."""
        return signed_bits(max(self.bounds))

    @property
    def narrow(self) -> int:
        """Filters that need no more than 16 bits."""
        return sum(signed_bits(bound) <= NARROW for bound in self.bounds)


def bounds(graph: Graph) -> list[Bound]:
    """A bound for each operator that adds up products.

    Raises:
        ModelError: one of them computes with floats, or there is none.
    """
    found = [op for op in graph.operators if op.name in PRODUCTS]
    if not found:
        raise ModelError(
            "no operator adds up products, so there is no accumulator. Received: "
            f"{len(graph.operators)} operators. Give the file of a classifier"
        )
    if floats := [op for op in found if _is_float(op)]:
        raise ModelError(
            f"{len(floats)} of {len(found)} operators with weights compute with floats, for which "
            f"there is no bound. Received: {floats[0].name} (operator {floats[0].index}) reads "
            f"{', '.join(t.dtype for t in _factors(floats[0]))}. Give an int8 file, or the .keras "
            "model and --data"
        )
    return [_bound(op) for op in found]


def _bound(op: Operator) -> Bound:
    data, other = _factors(op)
    most = _reach(data)
    if other.data is None:
        pairs = op.inputs[0].shape[-1]
        return Bound(op.index, op.name, op.outputs[0].name, pairs, (pairs * most * _reach(other),))
    kernel = np.moveaxis(other.data.astype(np.int64), FILTERS.get(op.name, 0), 0)
    rows = np.abs(kernel.reshape(len(kernel), -1) - _zeros(other, len(kernel))[:, None])
    biases = np.zeros(len(kernel), np.int64)
    if (bias := _bias(op)) is not None:
        biases = np.abs(bias.astype(np.int64)).reshape(-1)
    sums = [int(row) * most + int(b) for row, b in zip(rows.sum(axis=1), biases, strict=True)]
    return Bound(op.index, op.name, op.outputs[0].name, rows.shape[1], tuple(sums))


def _factors(op: Operator) -> tuple[Tensor, Tensor]:
    """The data and the weights of an operator."""
    return op.inputs[2 if op.name == "TRANSPOSE_CONV" else 0], op.inputs[1]


def _is_float(op: Operator) -> bool:
    return any(t.dtype in FLOATS or t.dtype not in ENDS for t in _factors(op))


def _reach(tensor: Tensor) -> int:
    """max |q - zero point| over all values that the type has."""
    low, high = ENDS[tensor.dtype]
    zero = int(tensor.zero_points[0]) if len(tensor.zero_points) else 0
    return max(high - zero, zero - low)


def _zeros(tensor: Tensor, filters: int) -> Any:
    """Zero points of the weights, one per filter; those of int8 are 0."""
    zeros = tensor.zero_points if len(tensor.zero_points) else np.zeros(1, np.int64)
    return np.broadcast_to(zeros, (filters,))


def _bias(op: Operator) -> Any:
    at = 3 if op.name == "TRANSPOSE_CONV" else 2
    return op.inputs[at].data if len(op.inputs) > at else None


def as_json(found: list[Bound]) -> dict[str, Any]:
    """What is known of a file, for programs."""
    rows = [
        {
            "index": one.index,
            "operator": one.operator,
            "name": one.name,
            "pairs": one.pairs,
            "filters": len(one.bounds),
            "bound": max(one.bounds),
            "bits": one.bits,
            "filters_of_16_bits": one.narrow,
            "bounds": list(one.bounds),
        }
        for one in found
    ]
    most = max(one.bits for one in found)
    return {"int32_is_safe": most <= WIDE, "bits": most, "operators": rows}


def as_text(found: list[Bound]) -> str:
    """What is known of a file, for people: at most 80 columns."""
    lines = [f"{'':>4}  {'operator':17}  {'filters':>7}  {'pairs':>6}  {'largest sum':>14}  bits"]
    lines[0] += "  <= 16 bits"
    for one in found:
        count = "all" if one.narrow == len(one.bounds) else f"{one.narrow:,}"
        lines.append(
            f"{one.index:>4}  {one.operator:17}  {len(one.bounds):>7,}  {one.pairs:>6,}"
            f"  {max(one.bounds):>14,}  {one.bits:>4}  {count:>10}"
        )
    most, narrow = max(found, key=lambda one: one.bits), sum(one.bits <= NARROW for one in found)
    room = 2 ** (WIDE - 1) / max(1, *(max(one.bounds) for one in found))
    lines += [""]
    if most.bits <= WIDE:
        lines += [f"int32 is safe: no image overflows it; there is room for {math.floor(room):,}x."]
    else:
        lines += [f"int32 is not proved safe: operator {most.index} may need {most.bits} bits."]
    lines += [f"{narrow} of {len(found)} operators need no more than 16 bits."]
    return "\n".join(lines)
