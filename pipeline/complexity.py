"""Parameters, MACs, FLOPs and activation memory of a built Keras model, counted layer by layer.

**FLOPs = 2 x MACs**, over convolutions and dense layers, for one image; biases, normalization,
activations and pooling are not counted (the convention of the published MAC tables).
"""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras

from pipeline.errors import ModelError

# Layers with weights whose multiplications the convention leaves out.
FREE = ("BatchNormalization", "GroupNormalization", "LayerNormalization", "Normalization", "PReLU")


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
        """Multiply-accumulates of convolutions and dense layers."""
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
    costs, seen = [], set()
    for layer, inputs, output in calls(model):
        first = id(layer) not in seen
        seen.add(id(layer))
        costs.append(_cost(layer, inputs, output, first))
    params = sum(_size(w) for w in model.weights)
    trainable = sum(_size(w) for w in model.trainable_weights)
    return Profile(tuple(costs), params, trainable, _peak(model))


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


def _cost(layer: Any, inputs: list[Any], output: Any, first: bool) -> LayerCost:
    kind = type(layer).__name__
    weights = getattr(layer, "weights", [])
    if kind in _MACS:
        macs = _MACS[kind](layer, tuple(inputs[0].shape), tuple(output.shape))
    elif not weights or kind in FREE:
        macs = 0
    else:
        raise ModelError(
            f"cannot count the MACs of layer {layer.name!r}. Received: {kind}. "
            f"Countable: {', '.join(sorted(_MACS))}"
        )
    shape = tuple(output.shape[1:])
    trainable = getattr(layer, "trainable_weights", [])
    return LayerCost(
        name=layer.name,
        kind=kind,
        output_shape=shape,
        params=sum(_size(w) for w in weights) if first else 0,
        trainable_params=sum(_size(w) for w in trainable) if first else 0,
        macs=macs,
        activations=math.prod(_known(shape, layer.name)),
    )


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


def _conv(layer: Any, _: tuple[Any, ...], out: tuple[Any, ...]) -> int:
    """`kh kw (c_in / groups) c_out` per output position."""
    return _size(layer.kernel) * _positions(layer, out)


def _transposed(layer: Any, into: tuple[Any, ...], _: tuple[Any, ...]) -> int:
    """`kh kw c_in c_out` per input position."""
    return _size(layer.kernel) * _positions(layer, into)


def _separable(layer: Any, _: tuple[Any, ...], out: tuple[Any, ...]) -> int:
    """Depthwise `kh kw c` plus pointwise `c c_out`, per output position."""
    kernels = _size(layer.depthwise_kernel) + _size(layer.pointwise_kernel)
    return kernels * _positions(layer, out)


def _positions(layer: Any, shape: tuple[Any, ...]) -> int:
    """Places in space that a tensor `[B, ..., C]`, or `[B, C, ...]`, has."""
    first = getattr(layer, "data_format", None) == "channels_first"
    return math.prod(_known(shape[2:] if first else shape[1:-1], layer.name))


_MACS: dict[str, Callable[[Any, tuple[Any, ...], tuple[Any, ...]], int]] = {
    "Conv1D": _conv,
    "Conv2D": _conv,
    "Conv2DTranspose": _transposed,
    "Dense": _conv,
    "DepthwiseConv2D": _conv,
    "SeparableConv2D": _separable,
}


def _peak(model: keras.Model) -> int:
    """Most activation values alive at once when layers run one after the other."""
    steps = [(inputs, output) for _, inputs, output in calls(model)]
    last_use = {id(t): i for i, (inputs, _) in enumerate(steps) for t in inputs}
    size = {id(t): math.prod(t.shape[1:]) for inputs, out in steps for t in (*inputs, out)}
    alive = {id(t) for t in model.inputs}
    peak = 0
    for i, (_, output) in enumerate(steps):
        alive.add(id(output))
        peak = max(peak, sum(size.get(t, 0) for t in alive))
        alive = {t for t in alive if last_use.get(t, len(steps)) > i}
    return peak
