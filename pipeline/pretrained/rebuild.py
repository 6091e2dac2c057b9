"""Rebuild a model, layer by layer, on another input: nested models are opened, weights copied."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from pipeline.errors import ModelError
from pipeline.graph import walk
from pipeline.graph.rebuild import Replay

# What Keras raises when layers do not fit an input.
MISFIT = (TypeError, ValueError, IndexError, NotImplementedError, ZeroDivisionError)
EACH_CHANNEL_ALIKE = ("ZeroPadding2D", "AveragePooling2D", "MaxPooling2D")
Shape = tuple[int, int, int]


@dataclass
class Rebuilt:
    """A model on another input, still without its weights."""

    inputs: Any
    outputs: Any
    origins: dict[int, Any] = field(default_factory=dict)  # id of a new layer -> the old one


def rebuild(model: keras.Model, input_shape: Shape, first: Callable[[Any], Any]) -> Rebuilt:
    """Call every layer of `model` anew on images of `input_shape`.

    Args:
        model: Functional, one input and one output.
        input_shape: `(H, W, C)`.
        first: Makes of the images what the first layers of `model` are called on.

    Raises:
        ModelError: a layer cannot take such images, or cannot be made anew.
    """
    inputs = keras.Input(input_shape, name="image")
    made = Rebuilt(inputs, None)
    replay = Replay()
    values = {id(model.inputs[0]): first(inputs)}
    try:
        replay.run(model, values)
    except MISFIT as error:
        if isinstance(error, ModelError):
            raise
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(
            f"model {model.name!r} cannot take such images. Received: image_shape={input_shape}, "
            f"and of Keras: {reason}. It was made for {tuple(model.inputs[0].shape[1:])}; "
            "see data.image_size"
        ) from error
    made.outputs = values[id(model.outputs[0])]
    made.origins = replay.origins()
    return made


def copy_weights(target: keras.Model, rebuilt: Rebuilt, folded: Any = None) -> None:
    """Give the layers of `target` the weights that their origins have.

    Args:
        target: Made of the layers of `rebuilt`, and perhaps of new ones.
        rebuilt: Knows where the layers are from.
        folded: An old convolution whose kernel `[kh, kw, 3, out]` becomes `[kh, kw, 1, out]` by
            adding up its input channels: for images whose channels are all alike, the same.

    Raises:
        ModelError: the weights have another shape at this size of images.
    """
    for layer in target.layers:
        origin = rebuilt.origins.get(id(layer))
        if origin is None or not origin.weights:
            continue
        weights = origin.get_weights()
        if origin is folded:
            weights[0] = weights[0].sum(axis=2, keepdims=True)
        if [w.shape for w in weights] != [tuple(w.shape) for w in layer.weights]:
            wanted = origin.weights[0].shape
            raise ModelError(
                f"layer {layer.name!r} fixes the size of the images, as after Flatten. Received: "
                f"image_shape={tuple(rebuilt.inputs.shape[1:])}, where its kernel would be "
                f"{tuple(layer.weights[0].shape)}, not {tuple(wanted)}. Give it images of the size "
                "that it was made for: data.image_size"
            )
        layer.set_weights(weights)


def first_convolution(model: keras.Model) -> keras.layers.Conv2D | None:
    """The convolution that alone sees the image, with all channels treated alike up to it."""
    calls = list(walk.calls(model))
    tensor = model.inputs[0]
    for _ in calls:
        readers = [
            (layer, out) for layer, sources, out in calls if any(t is tensor for t in sources)
        ]
        if len(readers) != 1:
            return None
        layer, tensor = readers[0]
        if type(layer) is keras.layers.Conv2D:
            once = sum(other is layer for other, _, _ in calls) == 1
            return layer if once and layer.groups == 1 else None
        scalar = isinstance(layer, keras.layers.Rescaling) and (
            np.isscalar(layer.scale) and np.isscalar(layer.offset)
        )
        if not scalar and type(layer).__name__ not in EACH_CHANNEL_ALIKE:
            return None
    return None
