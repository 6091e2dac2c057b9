"""Operations on tensors, such as `x * 2`, `x + y` and `keras.ops.relu(x)`, as tf_keras layers."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tf_keras

from pipeline.quantization.tfmot import activations

MERGES = ("Add", "Maximum", "Minimum", "Multiply", "Subtract")  # layers of the same name
ACTIVATIONS = {
    "HardSigmoid": "hard_sigmoid",
    "HardSilu": "hard_silu",
    "Relu": "relu",
    "Relu6": "relu6",
    "Selu": "selu",
    "Sigmoid": "sigmoid",
    "Silu": "silu",
    "Softmax": "softmax",
    "Tanh": "tanh",
}
SPACE = ([1, 2], [-3, -2])  # the axes of height and width
POOLS = {"Max": "GlobalMaxPooling2D", "Mean": "GlobalAveragePooling2D"}
Affine = Callable[[Any, bool], tuple[Any, Any] | None]
# Scale and offset of an operation with a constant `c`; `first`: the constant is the left operand.
AFFINE: Mapping[str, Affine] = {
    "Add": lambda c, first: (1, c),
    "Divide": lambda c, first: None if first else (1 / c, 0),
    "Multiply": lambda c, first: (c, 0),
    "Subtract": lambda c, first: (-1, c) if first else (1, -c),
    "TrueDivide": lambda c, first: None if first else (1 / c, 0),
}


class Part(tf_keras.layers.Layer):  # type: ignore[misc]
    """A slice of a tensor, as `x[..., ::-1]`: the key as rows `[start, stop, step]`, or "..."."""

    def __init__(self, rows: list[Any], **options: Any) -> None:
        super().__init__(**options)
        self.rows = rows

    def call(self, inputs: Any) -> Any:
        """Take the slice."""
        return inputs[tuple(... if row == "..." else slice(*row) for row in self.rows)]

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {**super().get_config(), "rows": self.rows}


def _part(key: Any, name: str) -> Part | None:
    """The slice of a key that has no numbers alone, which would remove a dimension."""
    parts = list(key) if isinstance(key, tuple | list) else [key]
    if not all(part is Ellipsis or isinstance(part, slice) for part in parts):
        return None
    rows = ["..." if part is Ellipsis else [part.start, part.stop, part.step] for part in parts]
    return Part(rows, name=name)


def _flipped(rank: int, axis: Any, name: str) -> Part:
    axes = [one % rank for one in ([axis] if isinstance(axis, int) else axis or range(rank))]
    return Part([[None, None, -1 if one in axes else None] for one in range(rank)], name=name)


def layers(operation: Any, name: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Layers that compute an operation of the graph of a functional model.

    Args:
        operation: One of `keras.ops`.
        name: Name of the last of the layers.
        arguments: Arguments of the call; None in place of every tensor.

    Raises:
        ModelError: no layers are known that compute it.
    """
    kind = type(operation).__name__
    constants = [argument for argument in arguments if argument is not None]
    if kind in MERGES and not constants:
        return (getattr(tf_keras.layers, kind)(name=name),)
    if kind in AFFINE and len(constants) == 1:
        value = np.asarray(constants[0], np.float64)
        found = AFFINE[kind](value, arguments[0] is not None)
        if found is not None:
            return (rescaling(*found, name),)
    if kind in ACTIVATIONS and getattr(operation, "axis", -1) == -1:
        return activations.layers(getattr(keras.activations, ACTIVATIONS[kind]), operation, name)
    if kind == "Gelu" and not operation.approximate:
        return activations.layers(keras.activations.gelu, operation, name)
    if kind == "Negative":
        return (rescaling(-1, 0, name),)
    if kind == "Concatenate":
        return (tf_keras.layers.Concatenate(operation.axis, name=name),)
    if kind in POOLS and list(operation.axis or ()) in SPACE:
        return (getattr(tf_keras.layers, POOLS[kind])(keepdims=operation.keepdims, name=name),)
    if kind == "GetItem" and (part := _part(constants[0] if constants else None, name)):
        return (part,)
    if kind == "Flip":
        rank = len(operation._inbound_nodes[0].input_tensors[0].shape)
        return (_flipped(rank, operation.axis, name),)
    if kind == "Reshape" and operation.newshape[0] in (-1, None):
        return (tf_keras.layers.Reshape(operation.newshape[1:], name=name),)
    raise activations.refusal(operation, f"operation {kind}", "Use a layer of keras.layers")


def rescaling(scale: Any, offset: Any, name: str) -> Any:
    """A layer `x scale + offset` with plain numbers, or lists of them, for its configuration."""
    return tf_keras.layers.Rescaling(_plain(scale), _plain(offset), name=name)


def _plain(values: Any) -> Any:
    values = np.asarray(values, np.float64)
    if values.size == 1:
        return float(values.reshape(()))
    channels = values.size == values.shape[-1]  # one number per channel, the same at every pixel
    return (values.reshape(-1) if channels else values).tolist()
