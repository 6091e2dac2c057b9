"""Walk the layers of a Keras model in topological order, nested models opened."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import keras

from pipeline.errors import ModelError


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


def layers(model: keras.Model) -> list[Any]:
    """The layers of a model, those of nested models too, each once."""
    return list({id(layer): layer for layer, _, _ in calls(model)}.values())


def size(weight: Any) -> int:
    """How many numbers a weight holds."""
    return math.prod(int(side) for side in weight.shape)
