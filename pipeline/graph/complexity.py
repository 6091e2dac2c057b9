"""Parameters, MACs, FLOPs and activation memory of a built Keras model, counted layer by layer.

**FLOPs = 2 x MACs**, over convolutions, dense layers and the matrix products of attention, for
one image; biases, normalization, activations and pooling are not counted (the convention of the
published MAC tables).
"""

import math
from dataclasses import dataclass
from typing import Any

import keras

from pipeline.graph import memory, walk
from pipeline.graph.kinds import table
from pipeline.graph.kinds.kind import known
from search_spaces import base, tracing


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
    peak_memory_bytes: int  # most bytes alive at once in the int8 file, executed in its order

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
    for layer, inputs, output in walk.calls(model):
        first = id(layer) not in seen
        seen.add(id(layer))
        steps.append(_call(layer, inputs, output, first))
    params = sum(walk.size(w) for w in model.weights)
    trainable = sum(walk.size(w) for w in model.trainable_weights)
    costs, peaks = _costs(steps), _peaks(steps, model.inputs, model.outputs, model.name)
    return Profile(costs, params, trainable, *peaks)


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
    peaks = _peaks(trace.calls, trace.inputs, trace.outputs, trace.name)
    return Profile(_costs(trace.calls), params, trainable, *peaks)


def _call(layer: Any, inputs: list[Any], output: Any, first: bool) -> tracing.Call:
    weights = getattr(layer, "weights", [])
    trainable = getattr(layer, "trainable_weights", [])
    return tracing.Call(
        name=layer.name,
        kind=type(layer).__name__,
        inputs=tuple(inputs),
        output=output,
        params=sum(walk.size(w) for w in weights) if first else 0,
        trainable_params=sum(walk.size(w) for w in trainable) if first else 0,
        macs=table.macs(layer, [tuple(t.shape) for t in inputs], tuple(output.shape)),
        reach=_reach(layer),
        function=getattr(getattr(layer, "activation", None), "__name__", ""),
    )


def _reach(layer: Any) -> tracing.Reach:
    """Window and stride of a layer; None where each output depends on every position."""
    if table.of(layer).sees_all:
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
        bounded = [f for f in fields if f is not None]
        if step.reach is not None and len(bounded) == len(fields):
            jump = max(j for _, j in bounded)
            field = max(f for f, _ in bounded) + (step.reach[0] - 1) * jump, jump * step.reach[1]
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
                activations=math.prod(known(shape, step.name)),
                receptive_field=field[0] if field else None,
            )
        )
    return tuple(rows)


def _peaks(
    steps: list[tracing.Call], inputs: list[Any], outputs: list[Any], name: str
) -> tuple[int, int]:
    """Values of the layers, and bytes of the int8 operators, that are alive at once."""
    return memory.peak_values(steps, inputs), memory.peak_bytes(steps, inputs, outputs, name)
