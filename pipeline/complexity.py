"""Parameters, MACs, FLOPs and activation memory of a built Keras model, counted layer by layer.

**FLOPs = 2 x MACs**, over convolutions, dense layers and the matrix products of attention, for
one image; biases, normalization, activations and pooling are not counted (the convention of the
published MAC tables).
"""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras

from pipeline.errors import ModelError
from search_spaces import base, tracing

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


@dataclass(frozen=True)
class LayerCost:
    """What one call of one layer costs for one image."""

    name: str
    kind: str
    output_shape: tuple[int | None, ...]  # without the batch dimension
    params: int
    trainable_params: int
    macs: int
    activations: int  # values in the output
    receptive_field: int | None  # pixels a side that an output depends on; None: the whole image

    @property
    def flops(self) -> int:
        """Two operations per MAC: a multiplication and an addition."""
        return 2 * self.macs


@dataclass(frozen=True)
class Profile:
    """What a model costs for one image."""

    layers: tuple[LayerCost, ...]
    params: int
    trainable_params: int
    peak_activations: int  # most values alive at once, executed in topological order

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions, dense layers and attention."""
        return sum(layer.macs for layer in self.layers)

    @property
    def flops(self) -> int:
        """2 x MACs."""
        return 2 * self.macs

    @property
    def activations(self) -> int:
        """Values in the outputs of all layers."""
        return sum(layer.activations for layer in self.layers)


def profile(model: keras.Model) -> Profile:
    """Count a functional or sequential model; a layer called twice costs its MACs twice.

    Raises:
        ModelError: the model is not a graph of layers, or a layer with weights cannot be counted.
    """
    steps, seen = [], set()
    for layer, inputs, output in calls(model):
        first = id(layer) not in seen
        seen.add(id(layer))
        steps.append(_call(layer, inputs, output, first))
    params = sum(_size(w) for w in model.weights)
    trainable = sum(_size(w) for w in model.trainable_weights)
    return Profile(_costs(steps), params, trainable, _peak(steps, model.inputs))


def count(family: str, arch: Any, input_shape: tuple[int, int, int], num_classes: int) -> Profile:
    """Count a network of a family as `profile` would, without building it: 100 times faster.

    Args:
        family: Name of the family.
        arch: Its `Arch`, or that as JSON data.
        input_shape: `(H, W, C)` of the images.
        num_classes: Length of the vector of scores.

    Raises:
        ModelError: the family cannot take images of that size.
    """
    with tracing.recording() as trace:
        base.build(family, arch, input_shape, num_classes)
    params = sum(call.params for call in trace.calls)
    trainable = sum(call.trainable_params for call in trace.calls)
    return Profile(_costs(trace.calls), params, trainable, _peak(trace.calls, trace.inputs))


def calls(model: keras.Model) -> Iterator[tuple[keras.layers.Layer, list[Any], Any]]:
    """Yield `(layer, input tensors, output tensor)` in topological order, nested models opened."""
    yield from _calls(model, {})


def _calls(model: Any, outside: dict[int, Any]) -> Iterator[tuple[Any, list[Any], Any]]:
    """`calls`, where `outside` maps a nested model's own tensors to those of the graph around it.

    Every call of a nested model gets tensors of its own.
    """
    for node in graph(model):
        inputs = [outside.get(id(t), t) for t in node.input_tensors]
        layer = node.operation
        if isinstance(layer, keras.Model):
            inside = {id(t): copy.copy(t) for n in graph(layer) for t in n.output_tensors}
            inside |= {id(t): given for t, given in zip(layer.inputs, inputs, strict=True)}
            given = [outside.get(id(t), t) for t in node.output_tensors]
            inside |= {id(t): taken for t, taken in zip(layer.outputs, given, strict=True)}
            yield from _calls(layer, inside)
        elif not isinstance(layer, keras.layers.InputLayer):
            output = node.output_tensors[0]
            yield layer, inputs, outside.get(id(output), output)


def graph(model: keras.Model) -> list[Any]:
    """Nodes of a model's graph in topological order.

    Raises:
        ModelError: a subclassed or unbuilt model, which has no graph.
    """
    functional = model._functional if isinstance(model, keras.Sequential) else model
    if not hasattr(functional, "_nodes_by_depth"):
        raise ModelError(
            "only functional or built sequential models can be read layer by layer. "
            f"Received: {type(model).__name__}. Rebuild the model with keras.Model(inputs, outputs)"
        )
    by_depth = functional._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def _call(layer: Any, inputs: list[Any], output: Any, first: bool) -> tracing.Call:
    kind = type(layer).__name__
    weights = getattr(layer, "weights", [])
    if kind in _MACS:
        macs = _MACS[kind](layer, [tuple(t.shape) for t in inputs], tuple(output.shape))
    elif not weights or kind in FREE:
        macs = 0
    else:
        raise ModelError(
            f"cannot count the MACs of layer {layer.name!r}. Received: {kind}. "
            f"Countable: {', '.join(sorted(_MACS))}"
        )
    trainable = getattr(layer, "trainable_weights", [])
    return tracing.Call(
        name=layer.name,
        kind=kind,
        inputs=tuple(inputs),
        output=output,
        params=sum(_size(w) for w in weights) if first else 0,
        trainable_params=sum(_size(w) for w in trainable) if first else 0,
        macs=macs,
        reach=_reach(layer),
    )


def _reach(layer: Any) -> tracing.Reach:
    """Window and stride of a layer; None where each output depends on every position."""
    kind = type(layer).__name__
    if kind in ("Flatten", "MultiHeadAttention") or kind.startswith("Global"):
        return None
    window = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if not isinstance(window, tuple | list):
        return (1, 1)
    dilation = getattr(layer, "dilation_rate", 1)
    dilations = dilation if isinstance(dilation, tuple | list) else (dilation,) * len(window)
    side = max((k - 1) * d + 1 for k, d in zip(window, dilations, strict=True))
    strides = layer.strides if isinstance(layer.strides, tuple | list) else (layer.strides,)
    return side, max(strides)


def _costs(steps: list[tracing.Call]) -> tuple[LayerCost, ...]:
    """The rows of a profile; follows receptive fields from the image upwards.

    A window of `k` positions that are `j` pixels apart adds `(k - 1) j` pixels, and its stride
    multiplies `j`.
    """
    seen: dict[int, tuple[int, int] | None] = {}
    rows = []
    for step in steps:
        fields = [seen.get(id(t), (1, 1)) for t in step.inputs]
        field = None
        known = [f for f in fields if f is not None]
        if step.reach is not None and len(known) == len(fields):
            jump = max(j for _, j in known)
            field = max(f for f, _ in known) + (step.reach[0] - 1) * jump, jump * step.reach[1]
        seen[id(step.output)] = field
        shape = tuple(step.output.shape[1:])
        rows.append(
            LayerCost(
                name=step.name,
                kind=step.kind,
                output_shape=shape,
                params=step.params,
                trainable_params=step.trainable_params,
                macs=step.macs,
                activations=math.prod(_known(shape, step.name)),
                receptive_field=field[0] if field else None,
            )
        )
    return tuple(rows)


def _known(shape: tuple[int | None, ...], name: str) -> tuple[int, ...]:
    """Check that a shape is fixed; a network of free size has no fixed cost."""
    if None in shape:
        raise ModelError(
            f"cannot count layer {name!r}, whose shape is not fixed. Received: shape={shape}. "
            "Build the model with a fixed image size"
        )
    return tuple(int(side) for side in shape if side is not None)


def _size(weight: Any) -> int:
    return math.prod(int(side) for side in weight.shape)


def _conv(layer: Any, _: list[Shape], out: Shape) -> int:
    """`kh kw (c_in / groups) c_out` per output position."""
    return _size(layer.kernel) * _positions(layer, out)


def _transposed(layer: Any, into: list[Shape], _: Shape) -> int:
    """`kh kw c_in c_out` per input position."""
    return _size(layer.kernel) * _positions(layer, into[0])


def _separable(layer: Any, _: list[Shape], out: Shape) -> int:
    """Depthwise `kh kw c` plus pointwise `c c_out`, per output position."""
    kernels = _size(layer.depthwise_kernel) + _size(layer.pointwise_kernel)
    return kernels * _positions(layer, out)


def _einsum(layer: Any, into: list[Shape], _: Shape) -> int:
    """The size of the kernel, per place in the input dimensions that the kernel lacks."""
    given, kernel = layer.equation.replace(" ", "").split("->")[0].split(",")
    free = len(into[0]) - len(given.replace("...", ""))
    dims = zip(given.replace("...", "*" * free), into[0], strict=True)
    places = tuple(side for dim, side in list(dims)[1:] if dim not in kernel)
    return _size(layer.kernel) * math.prod(_known(places, layer.name))


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
    queries = math.prod(_known(query[1:-1], layer.name))
    values = math.prod(_known(tuple(value[axis] for axis in layer.attention_axes), layer.name))
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
    return math.prod(_known(shape[2:] if first else shape[1:-1], layer.name))


_MACS: dict[str, Callable[[Any, list[Shape], Shape], int]] = {
    "Conv1D": _conv,
    "Conv2D": _conv,
    "Conv2DTranspose": _transposed,
    "Dense": _conv,
    "DepthwiseConv2D": _conv,
    "EinsumDense": _einsum,
    "MultiHeadAttention": _attention,
    "SeparableConv2D": _separable,
}


def _peak(steps: list[tracing.Call], inputs: list[Any]) -> int:
    """Most activation values alive at once when layers run one after the other."""
    last_use = {id(t): i for i, step in enumerate(steps) for t in step.inputs}
    size = {id(t): math.prod(t.shape[1:]) for s in steps for t in (*s.inputs, s.output)}
    alive = {id(t) for t in inputs}
    peak = 0
    for i, step in enumerate(steps):
        alive.add(id(step.output))
        peak = max(peak, sum(size.get(t, 0) for t in alive))
        alive = {t for t in alive if last_use.get(t, len(steps)) > i}
    return peak
