"""Multiplications of one call of a built Keras layer, from its weights and shapes."""

import math
from collections.abc import Callable
from typing import Any

from pipeline.errors import ModelError

# Layers with weights whose multiplications the convention leaves out.
FREE = (
    "BatchNormalization",
    "ChannelScale",
    "ClassToken",
    "GroupNormalization",
    "LayerNormalization",
    "Normalization",
    "PReLU",
    "PositionEmbedding",
)
Shape = tuple[Any, ...]  # with the batch dimension


def of(layer: Any, inputs: list[Shape], output: Shape) -> int:
    """Count the multiply-accumulates of one call for one image.

    Raises:
        ModelError: the layer has weights and no rule, or a shape that is not fixed.
    """
    kind = type(layer).__name__
    if kind in RULES:
        return RULES[kind](layer, inputs, output)
    if getattr(layer, "weights", None) and kind not in FREE:
        raise ModelError(
            f"there is no rule for layer {layer.name!r}. Received: {kind}. Use layers without "
            f"weights, normalizations, or one of {', '.join(sorted(RULES))} instead"
        )
    return 0


def known(shape: tuple[int | None, ...], name: str) -> tuple[int, ...]:
    """Check that a shape is fixed; a network of free size has no fixed cost."""
    if None in shape:
        raise ModelError(
            f"cannot count layer {name!r}, whose shape is not fixed. Received: shape={shape}. "
            "Build the model with a fixed image size"
        )
    return tuple(int(side) for side in shape if side is not None)


def size(weight: Any) -> int:
    """Numbers in a weight."""
    return math.prod(int(side) for side in weight.shape)


def _conv(layer: Any, _: list[Shape], out: Shape) -> int:
    """`kh kw (c_in / groups) c_out` per output position."""
    return size(layer.kernel) * _positions(layer, out)


def _transposed(layer: Any, into: list[Shape], _: Shape) -> int:
    """`kh kw c_in c_out` per input position."""
    return size(layer.kernel) * _positions(layer, into[0])


def _separable(layer: Any, _: list[Shape], out: Shape) -> int:
    """Depthwise `kh kw c` plus pointwise `c c_out`, per output position."""
    kernels = size(layer.depthwise_kernel) + size(layer.pointwise_kernel)
    return kernels * _positions(layer, out)


def _einsum(layer: Any, into: list[Shape], _: Shape) -> int:
    """The size of the kernel, per place in the input dimensions that the kernel lacks."""
    given, kernel = layer.equation.replace(" ", "").split("->")[0].split(",")
    free = len(into[0]) - len(given.replace("...", ""))
    dims = zip(given.replace("...", "*" * free), into[0], strict=True)
    places = tuple(side for dim, side in list(dims)[1:] if dim not in kernel)
    return size(layer.kernel) * math.prod(known(places, layer.name))


def _attention(layer: Any, into: list[Shape], out: Shape) -> int:
    """Projections, and `heads (key_dim + value_dim)` per pair of a query and a value.

    Raises:
        ModelError: the layer is shared by calls of different lengths.
    """
    built = layer.get_build_config()["shapes_dict"]
    query, value = tuple(built["query_shape"]), tuple(built["value_shape"])
    called = [shape[1:] for shape in into]
    if query[1:-1] != out[1 : len(query) - 1] or value[1:] not in called:
        raise ModelError(
            f"cannot count attention {layer.name!r}, called with other lengths than it was built "
            f"for. Received: {called}. Built for: {[query[1:], value[1:]]}. Use a layer per length"
        )
    products = int(layer.num_heads * (layer.key_dim + layer.value_dim))
    queries = math.prod(known(query[1:-1], layer.name))
    values = math.prod(known(tuple(value[axis] for axis in layer.attention_axes), layer.name))
    attended = (*query[:-1], layer.num_heads, layer.value_dim)
    key = tuple(built.get("key_shape") or value)
    projections = [(layer.query_dense, query), (layer.key_dense, key), (layer.value_dense, value)]
    projections.append((layer.output_dense, attended))
    if getattr(layer, "_use_gate", False):
        projections.append((layer._gate_dense, query))
    return products * queries * values + sum(_einsum(p, [s], out) for p, s in projections)


def _positions(layer: Any, shape: Shape) -> int:
    """Places in space that a tensor `[B, ..., C]`, or `[B, C, ...]`, has."""
    first = getattr(layer, "data_format", None) == "channels_first"
    return math.prod(known(shape[2:] if first else shape[1:-1], layer.name))


RULES: dict[str, Callable[[Any, list[Shape], Shape], int]] = {
    "Conv1D": _conv,
    "Conv2D": _conv,
    "Conv2DTranspose": _transposed,
    "Dense": _conv,
    "DepthwiseConv2D": _conv,
    "EinsumDense": _einsum,
    "MultiHeadAttention": _attention,
    "SeparableConv2D": _separable,
}
