"""Normalization, and layers that scale or shift channels."""

from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.graph.channel_ties import Call, Labels, Ties
from pipeline.graph.kinds.kind import SOURCE, Kind, Operators, Refusal, free, kept


def normalized(ties: Ties, call: Call) -> Labels | None:
    """Each channel is normalized by itself, along the last axis; other axes have no rule."""
    layer = call.layer
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    last = [axis % len(call.out) for axis in axes] == [len(call.out) - 1]
    return call.reads[0] if last else None


def normalized_together(ties: Ties, call: Call) -> Labels | None:
    """All channels, or those of a group, are normalized as one, and so are removed as one."""
    labels = normalized(ties, call)
    if labels is None:
        return None
    together = labels.reshape(getattr(call.layer, "groups", 1), -1)
    if together.shape[1] > 1:
        ties.rigid.update(labels.tolist())
    for row in together:
        ties.tie(np.full(len(row), row[0]), row)
    return labels


def fewer_groups(
    layer: Any, config: dict[str, Any], writes: Labels, copies: np.ndarray
) -> dict[str, Any]:
    """As many groups as are left of the channels, each as wide as before."""
    if layer.groups <= 0:
        return {}
    return {"groups": int(copies[writes].sum()) * layer.groups // len(writes)}


def rescaled(ties: Ties, call: Call) -> Labels | None:
    """The channels stay where one number scales all of them; a number for each has no rule."""
    return call.reads[0] if has_scalars(call.layer) else None


def has_scalars(layer: Any) -> bool:
    """Whether a `Rescaling` has the same scale and offset for all channels."""
    return bool(np.ndim(layer.scale) == 0 and np.ndim(layer.offset) == 0)


NORM = Kind(macs=free, channels=normalized_together, operators=Operators())
SCALED = Operators(chain=((SOURCE,), (0,)))  # a product, then a sum
KINDS: dict[str, Kind] = {
    "BatchNormalization": replace(
        NORM, channels=normalized, operators=replace(SCALED, takes_relu=True, is_folded=True)
    ),
    "ChannelScale": Kind(macs=free, channels=kept, operators=Operators(is_folded=True)),
    "GroupNormalization": replace(NORM, settings=fewer_groups),
    "LayerNormalization": NORM,
    "LocalResponseNormalization": replace(
        NORM, channels=Refusal("each channel is divided by its neighbours")
    ),
    "Normalization": replace(
        NORM, channels=Refusal("its mean and variance of each channel are settings, not weights")
    ),
    "Rescaling": Kind(macs=free, channels=rescaled, operators=SCALED, is_alike=has_scalars),
}
