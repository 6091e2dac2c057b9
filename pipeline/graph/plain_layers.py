"""Plain layers of Keras that compute what an operation, or a layer of preprocessing, computes."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

layers = keras.layers
NORM = layers.BatchNormalization
# Operations that are an activation of the same name, without settings.
ACTIVATIONS = {
    "HardSigmoid": "hard_sigmoid",
    "HardSilu": "hard_silu",
    "Mish": "mish",
    "Selu": "selu",
    "Sigmoid": "sigmoid",
    "Silu": "silu",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Tanh": "tanh",
}
MIXERS = ("AugMix", "CutMix", "MixUp", "RandAugment")


def augments(layer: Any) -> bool:
    """Whether a layer changes images in training alone."""
    kind = type(layer).__name__
    if type(layer) is not getattr(layers, kind, None):
        return False
    return kind in MIXERS or (kind.startswith("Random") and kind != "RandomCrop")


def draws(layer: Any) -> bool:
    """Whether a layer draws random numbers in training, for what is inside a network."""
    return any(word in type(layer).__name__ for word in ("Dropout", "Noise"))


def of_layer(layer: Any, node: Any) -> Any:
    """A plainer layer that computes what a call of `layer` computes at inference; None: no need."""
    kind = type(layer).__name__
    if kind == "Normalization" and layer.built:
        mean, variance = (np.asarray(v, np.float64)[0] for v in (layer.mean, layer.variance))
        deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
        scale, offset = (deviation, mean) if layer.invert else (1 / deviation, -mean / deviation)
        return layers.Rescaling(_plain(scale), _plain(offset), name=layer.name)
    if kind == "CenterCrop" and type(layer) is layers.CenterCrop:
        return _centred(layer, node.input_tensors[0].shape)
    return None


def _centred(layer: Any, shape: tuple[Any, ...]) -> Any:
    """The middle of an image that is larger; a smaller one is enlarged."""
    height, width = shape[1:3]
    if height is None or width is None:
        return None
    more = height - layer.height, width - layer.width
    if min(more) < 0:
        size = layer.height, layer.width
        return layers.Resizing(*size, crop_to_aspect_ratio=True, name=layer.name)
    edges = tuple((extra // 2, extra - extra // 2) for extra in more)
    return layers.Cropping2D(edges, name=layer.name)


def _plain(values: Any) -> Any:
    """A number, or one per channel, for a configuration."""
    values = np.asarray(values, np.float64)
    if values.size == 1:
        return float(values.reshape(()))
    return (values.reshape(-1) if values.size == values.shape[-1] else values).tolist()


def of_operation(node: Any) -> Any:
    """A layer that computes what a call of an operation computes; None where there is none.

    Such a layer is not called with the arguments of the operation, but with its first one alone.
    """
    operation = node.operation
    kind, name = type(operation).__name__, operation.name
    if kind in ACTIVATIONS:
        return layers.Activation(ACTIVATIONS[kind], name=name)
    made: Callable[[Any, Any], Any] | None = MADE.get(kind)
    return made(operation, node) if made else None


def _relu(operation: Any, node: Any) -> Any:
    slope = float(getattr(operation, "negative_slope", 0.0))
    most, threshold = (getattr(operation, key, None) for key in ("max_value", "threshold"))
    if slope and most is None and not threshold:
        return layers.LeakyReLU(slope, name=operation.name)
    return layers.ReLU(most, slope, float(threshold or 0.0), name=operation.name)


def _relu6(operation: Any, node: Any) -> Any:
    return layers.ReLU(6.0, name=operation.name)


def _elu(operation: Any, node: Any) -> Any:
    return layers.ELU(getattr(operation, "alpha", 1.0), name=operation.name)


def _gelu(operation: Any, node: Any) -> Any:
    return None if operation.approximate else layers.Activation("gelu", name=operation.name)


def _softmax(operation: Any, node: Any) -> Any:
    axis = -1 if operation.axis is None else operation.axis
    if operation.axis is None and len(node.input_tensors[0].shape) != 2:
        return None  # over all values together
    return layers.Softmax(axis, name=operation.name)


def _cast(operation: Any, node: Any) -> Any:
    """Everything is float32 here."""
    return _same if str(operation.dtype).startswith(("float", "bfloat")) else None


def _same(x: Any) -> Any:
    return x


def _cropped(operation: Any, node: Any) -> Any:
    """A slice of places, with all channels: `x[:, 1:-1, 2:]`."""
    shape = node.input_tensors[0].shape
    given = node.arguments.args[1:] or tuple(node.arguments.kwargs.values())
    key = given[0] if given else None
    key = (key,) if isinstance(key, slice) else key
    if len(shape) != 4 or not isinstance(key, tuple | list) or None in shape[1:]:
        return None
    spread = _spread(list(key), len(shape))
    if spread is None:
        return None
    ends = [part.indices(side) for part, side in zip(spread[1:], shape[1:], strict=True)]
    whole = spread[0] == slice(None) and ends[2] == (0, shape[3], 1)
    if not whole or any(step != 1 or last <= first for first, last, step in ends):
        return None
    edges = tuple((ends[i][0], shape[1 + i] - ends[i][1]) for i in (0, 1))
    return layers.Cropping2D(edges, name=operation.name)


def _stacked(operation: Any, node: Any) -> Any:
    """Channels that are picked one by one and stacked in reverse, as `preprocess_input` does it."""
    parts = node.input_tensors
    rank, picked = len(parts[0].shape) + 1, [_picked(part) for part in parts]
    sources = {id(source): source for source, _ in filter(None, picked)}
    if None in picked or len(sources) != 1 or operation.axis not in (-1, rank - 1):
        return None
    (source,) = sources.values()
    order = [channel for _, channel in filter(None, picked)]
    return _reversed if order == [*range(source.shape[-1] or 0)][::-1] else None


def _picked(tensor: Any) -> tuple[Any, int] | None:
    """The tensor of which this is one channel, and which one; None if it is none."""
    operation, place, _ = tensor._keras_history
    if type(operation).__name__ != "GetItem":
        return None
    node = operation._inbound_nodes[place]
    given = node.arguments.args[1:] or tuple(node.arguments.kwargs.values())
    key = list(given[0]) if given and isinstance(given[0], tuple | list) else []
    if len(key) != 2 or key[0] is not Ellipsis or not isinstance(key[1], int):
        return None
    (source,) = node.input_tensors
    return source, key[1] % (source.shape[-1] or 1)


def _reversed(parts: Any) -> Any:
    operation, place, _ = parts[0]._keras_history
    return operation._inbound_nodes[place].input_tensors[0][..., ::-1]


def _spread(key: list[Any], rank: int) -> list[Any] | None:
    """A slice per dimension, or None if the key holds anything else."""
    if not any(part is Ellipsis for part in key):
        key = [*key, Ellipsis]
    place = next(i for i, part in enumerate(key) if part is Ellipsis)
    full = [slice(None)] * (rank - len(key) + 1)
    spread = [*key[:place], *full, *key[place + 1 :]]
    return spread if all(isinstance(part, slice) for part in spread) else None


MADE: dict[str, Callable[[Any, Any], Any]] = {
    "Cast": _cast,
    "Elu": _elu,
    "Gelu": _gelu,
    "GetItem": _cropped,
    "LeakyRelu": _relu,
    "ReLU": _relu,
    "Relu": _relu,
    "Relu6": _relu6,
    "Stack": _stacked,
    "Softmax": _softmax,
}
