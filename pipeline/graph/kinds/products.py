"""Products with matrices: dense layers, Einstein sums and attention."""

import math
import re
from typing import Any

from pipeline.errors import ModelError
from pipeline.graph import walk
from pipeline.graph.kinds import convolutions
from pipeline.graph.kinds.kind import FORWARD, Kernel, Kind, Operators, Refusal, Shape, known


def einsum_macs(layer: Any, inputs: list[Shape], output: Shape) -> int:
    """The size of the kernel, per place in the input dimensions that the kernel lacks."""
    given, kernel = layer.equation.replace(" ", "").split("->")[0].split(",")
    free = len(inputs[0]) - len(given.replace("...", ""))
    dims = zip(given.replace("...", "*" * free), inputs[0], strict=True)
    places = tuple(side for dim, side in list(dims)[1:] if dim not in kernel)
    return walk.size(layer.kernel) * math.prod(known(places, layer.name))


def attention_macs(layer: Any, inputs: list[Shape], output: Shape) -> int:
    """Projections, and `heads (key_dim + value_dim)` per pair of a query and a value.

    Raises:
        ModelError: the layer is shared by calls of different lengths.
    """
    built = layer.get_build_config()["shapes_dict"]
    query, value = tuple(built["query_shape"]), tuple(built["value_shape"])
    called = [shape[1:] for shape in inputs]
    if query[1:-1] != output[1 : len(query) - 1] or value[1:] not in called:
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
    projected = sum(einsum_macs(dense, [shape], output) for dense, shape in projections)
    return products * queries * values + projected


def einsum_kernel(layer: Any, name: str) -> Kernel:
    """The axes of the kernel whose letters are in the result are those of outputs.

    >>> from types import SimpleNamespace
    >>> einsum_kernel(SimpleNamespace(equation="abc,cde->abde"), "kernel")
    Kernel(inputs=(-3,), outputs=(-2, -1))
    """
    _, letters, result = re.split(",|->", layer.equation.replace(".", ""))
    axes = {i - len(letters): letter in result for i, letter in enumerate(letters)}
    inputs = tuple(axis for axis, is_output in axes.items() if not is_output)
    return Kernel(inputs, tuple(axis for axis, is_output in axes.items() if is_output))


KINDS: dict[str, Kind] = {
    "Dense": Kind(
        macs=convolutions.macs,
        channels=convolutions.made,
        operators=Operators(takes_relu=True, takes_norm=True),
        kernel=lambda layer, name: FORWARD,
        width="units",
        share=convolutions.full_share,
    ),
    "EinsumDense": Kind(
        macs=einsum_macs,
        channels=Refusal("an Einstein sum may mix any axes"),
        operators=Operators(),
        kernel=einsum_kernel,
    ),
    "MultiHeadAttention": Kind(
        macs=attention_macs,
        channels=Refusal("attention mixes all channels"),
        operators=Operators(),
        sees_all=True,
    ),
}
