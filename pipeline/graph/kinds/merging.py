"""Layers that merge several tensors into one."""

from dataclasses import replace

import numpy as np

from pipeline.graph.channel_ties import Call, Labels, Ties
from pipeline.graph.kinds.kind import Kind, Operators, free


def merged(ties: Ties, call: Call) -> Labels | None:
    """Element by element: channels in the same place are tied."""
    widest = max(call.reads, key=len)
    for labels in call.reads:
        if len(labels) == len(widest):
            ties.tie(widest, labels)
        else:
            ties.stick(labels, f"{call.layer.name!r} repeats it for every channel")
    return widest


def joined(ties: Ties, call: Call) -> Labels | None:
    """Concatenation along the channels, or of places whose channels are the same."""
    if call.layer.axis % len(call.out) != len(call.out) - 1:
        return merged(ties, call)
    return np.concatenate(call.reads)


MERGE = Kind(macs=free, channels=merged, operators=Operators(), is_merge=True)
SUM = Operators(pairs="Add", takes_relu=True, has_constants=False)
ELEMENTWISE = ("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract")
KINDS: dict[str, Kind] = {
    **dict.fromkeys(ELEMENTWISE, MERGE),
    "Add": replace(MERGE, operators=SUM),
    # a sum, and a product with the constant 1 / n
    "Average": replace(MERGE, operators=replace(SUM, has_constants=True)),
    "Concatenate": replace(MERGE, channels=joined),
    "Multiply": replace(MERGE, operators=replace(SUM, pairs="Multiply")),
}
