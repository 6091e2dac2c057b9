"""The head of a trained network: whether it stays, what its scores are, or a new one."""

from typing import Any, Literal

import keras

from pipeline.errors import ModelError
from pipeline.graph import walk
from pipeline.graph.kinds import table

Head = Literal["auto", "keep", "new"]


def keeps(model: keras.Model, num_classes: int, head: Head, imagenet: bool) -> bool:
    """Whether the head stays."""
    shape = tuple(model.outputs[0].shape[1:])
    same = shape == (num_classes,)
    if head == "keep" and not same:
        raise ModelError(
            f"model {model.name!r} scores other classes. Received: outputs={shape} for "
            f"{num_classes} classes of the data. Replace its head: head: new"
        )
    return head == "keep" or (head == "auto" and same and not imagenet)


def scores(body: keras.Model) -> Any:
    """The outputs, with a softmax where they are logits."""
    last = next(layer for layer, _, out in walk.calls(body) if out is body.outputs[0])
    function = getattr(getattr(last, "activation", None), "__name__", "")
    if isinstance(last, keras.layers.Softmax) or function == "softmax":
        return body.outputs[0]
    return keras.layers.Softmax(name=free_name("scores", body))(body.outputs[0])


def new(body: keras.Model, num_classes: int) -> tuple[Any, list[str]]:
    """Scores of a new dense layer on the features of `body`, and the names of new layers."""
    x = _features(body)
    kept = keras.Model(body.inputs, x)  # whose names are taken
    if len(x.shape) == 4 and tuple(x.shape[1:3]) == (1, 1):
        x = keras.layers.Flatten(name=free_name("features", kept))(x)
    elif len(x.shape) == 4:
        x = keras.layers.GlobalAveragePooling2D(name=free_name("pool", kept))(x)
    if len(x.shape) != 2:
        raise ModelError(
            f"model {body.name!r} has no features for a new head. Received: a tensor of shape "
            f"{tuple(x.shape)} before its last layer. Expected: [B, C] or [B, H, W, C]"
        )
    name = free_name("logits", kept)
    x = keras.layers.Dense(num_classes, name=name)(x)
    return keras.layers.Softmax(name=free_name("scores", kept))(x), [name]


def _features(body: keras.Model) -> Any:
    """The tensor that the classifier reads; the output, of a model without a classifier."""
    calls: dict[int, tuple[Any, list[Any]]] = {
        id(out): (layer, sources) for layer, sources, out in walk.calls(body)
    }
    tensor, classes = body.outputs[0], body.outputs[0].shape[-1]
    for _ in calls:
        layer, sources = calls.get(id(tensor), (None, []))
        if isinstance(layer, keras.layers.Dense):
            return sources[0]
        pointwise = isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (1, 1)
        if pointwise and layer.filters == classes and len(body.outputs[0].shape) == 2:
            return sources[0]
        if not table.of(layer).is_tail or len(sources) != 1:
            break
        tensor = sources[0]
    return body.outputs[0]


def free_name(name: str, model: keras.Model) -> str:
    """`name`, with a number behind it if a layer of the model has that name."""
    nested = {layer.name for layer, _, _ in walk.calls(model)}
    taken = nested | {layer.name for layer in model.layers}
    names = (name if n == 1 else f"{name}_{n}" for n in range(1, len(taken) + 2))
    return next(free for free in names if free not in taken)
