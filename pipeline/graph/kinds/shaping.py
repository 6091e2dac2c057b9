"""Layers that pool, pad, crop, resize or reshape, and those that add to tokens."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.graph.channel_ties import Call, Labels, Ties
from pipeline.graph.kinds.kind import Kind, Operators, always, free, kept
from search_spaces import tracing


def padded(ties: Ties, call: Call) -> Labels | None:
    """Zeros around the places; with "channels_first", zeros before and after the channels."""
    if call.layer.data_format != "channels_first":
        return call.reads[0]
    before, after = call.layer.padding[1]
    return np.concatenate([ties.new(before, ""), call.reads[0], ties.new(after, "")])


def padding_left(
    layer: Any, config: dict[str, Any], writes: Labels, copies: np.ndarray
) -> dict[str, Any]:
    """As many zeros before and after the channels as are left of them."""
    if layer.data_format != "channels_first":
        return {}
    before, after = layer.padding[1]
    ends = writes[:before], writes[len(writes) - after :]
    return {"padding": (layer.padding[0], tuple(int(copies[end].sum()) for end in ends))}


def reshaped(ties: Ties, call: Call) -> Labels | None:
    """Flattening and other shapes, where a channel of the result is one of the input."""
    before, after = call.into[0][1:], call.out[1:]
    if None in before or None in after or not before or not after:
        return None
    places = np.broadcast_to(call.reads[0], tuple(side or 0 for side in before))
    rows = places.reshape(-1, after[-1] or 0)
    fits = after[-1] in (before[-1], math.prod(side or 0 for side in before))
    return rows[0] if fits and np.all(rows == rows[0]) else None


def channels_left(
    layer: Any, config: dict[str, Any], writes: Labels, copies: np.ndarray
) -> dict[str, Any]:
    """The shape that is asked for, with the channels that are left as its last side."""
    return {"target_shape": (*config["target_shape"][:-1], int(copies[writes].sum()))}


def permuted(ties: Ties, call: Call) -> Labels | None:
    """Transposition that leaves the channels last."""
    return call.reads[0] if call.layer.dims[-1] == len(call.layer.dims) else None


def _is_vector(call: tracing.Call) -> bool:
    """Whether a tensor has one place alone, so that flattening it changes nothing."""
    return bool(math.prod(call.inputs[0].shape[1:-1]) == 1)


EACH = Kind(macs=free, channels=kept, operators=Operators())
POOL = replace(EACH, operators=Operators(has_constants=False), is_alike=always)
GLOBAL_POOL = replace(EACH, sees_all=True)
RESHAPE = Kind(macs=free, channels=reshaped, operators=Operators(), is_tail=True)
KINDS: dict[str, Kind] = {
    "AveragePooling1D": EACH,
    "AveragePooling2D": POOL,
    "AveragePooling3D": EACH,
    "ClassToken": EACH,
    "Cropping1D": EACH,
    "Cropping2D": EACH,
    "Cropping3D": EACH,
    "Flatten": replace(RESHAPE, operators=Operators(is_gone=_is_vector), sees_all=True),
    "GlobalAveragePooling1D": GLOBAL_POOL,
    "GlobalAveragePooling2D": replace(GLOBAL_POOL, is_tail=True),
    "GlobalAveragePooling3D": GLOBAL_POOL,
    "GlobalMaxPooling1D": GLOBAL_POOL,
    "GlobalMaxPooling2D": GLOBAL_POOL,
    "GlobalMaxPooling3D": GLOBAL_POOL,
    "MaxPooling1D": EACH,
    "MaxPooling2D": POOL,
    "MaxPooling3D": EACH,
    "Permute": replace(EACH, channels=permuted),
    "PositionEmbedding": EACH,
    "Reshape": replace(RESHAPE, settings=channels_left),
    "Resizing": EACH,
    "UpSampling1D": EACH,
    "UpSampling2D": EACH,
    "UpSampling3D": EACH,
    "ZeroPadding1D": EACH,
    "ZeroPadding2D": replace(EACH, channels=padded, settings=padding_left, is_alike=always),
    "ZeroPadding3D": EACH,
}
