"""Fit a trained network to other images and classes: another size, one channel, a new head."""

from typing import Any, Literal

import keras

from pipeline.errors import ModelError
from pipeline.graph import walk
from pipeline.graph.kinds import table
from pipeline.graph.rebuild import ImageShape, copy_weights, first_convolution, on_images

Head = Literal["auto", "keep", "new"]
Pixels = Literal["0..255", "0..1", "-1..1"]
RESCALING = {"0..1": (1 / 255, 0.0), "-1..1": (1 / 127.5, -1.0)}  # scale, offset of 0..255


def adapt(
    model: keras.Model,
    input_shape: ImageShape,
    num_classes: int,
    head: Head = "auto",
    imagenet: bool = False,
    pixels: Pixels = "0..255",
) -> tuple[keras.Model, list[str]]:
    """Rebuild a functional model for a data set, with the weights that it has.

    Args:
        model: Takes images `[B, H, W, C]`, or `[B, H, W]` of one channel.
        input_shape: `(H, W, C)` of the images. Images of one channel suit a network of three: they
            are seen as grey.
        num_classes: Length of the vector of scores.
        head: "new": a new dense layer and softmax take the place of the last dense layer, or last
            1x1 convolution, and of what follows it. "keep": it stays. "auto": it stays if it has as
            many classes, unless those are ImageNet's.
        imagenet: Whether the classes of `model` are ImageNet's.
        pixels: The range of pixels that `model` was trained on; the adapted model takes 0..255.

    Returns:
        The model, and the names of layers that start from random weights.

    Raises:
        ModelError: the model cannot take such images, or keeps a head with other classes.
    """
    walk.graph(model)  # refuses what is no graph of layers
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelError(
            f"model {model.name!r} is no image classifier. Received: {len(model.inputs)} inputs, "
            f"{len(model.outputs)} outputs. Expected: one of each. Give the part that takes images "
            "and gives scores: keras.Model(image, scores)"
        )
    grey = _is_grey(model, input_shape)
    kept = _keeps(model, num_classes, head, imagenet)
    folded = first_convolution(model) if grey else None

    def first(image: Any) -> Any:
        if pixels in RESCALING:
            scale, offset = RESCALING[pixels]
            image = keras.layers.Rescaling(scale, offset, name=_free("pixels", model))(image)
        if len(model.inputs[0].shape) == 3:
            return keras.layers.Reshape(input_shape[:2], name="one_channel")(image)
        return _thrice(image) if grey and folded is None else image

    rebuilt = on_images(model, input_shape, first)
    body = keras.Model(rebuilt.inputs, rebuilt.outputs, name=model.name)
    outputs, new = (_scores(body), []) if kept else _new_head(body, num_classes)
    made = keras.Model(rebuilt.inputs, outputs, name=model.name)
    copy_weights(made, rebuilt, folded)
    return made, new


def _is_grey(model: keras.Model, input_shape: ImageShape) -> bool:
    """Whether a network of three channels is to see images of one."""
    shape = tuple(model.inputs[0].shape[1:])
    wanted, received = {2: 1, 3: shape[-1]}.get(len(shape)), input_shape[-1]
    if wanted == received or (wanted, received) == (3, 1):
        return wanted != received
    if wanted is None:
        raise ModelError(
            f"model {model.name!r} takes no images. Received: an input of shape {shape}. "
            "Expected: (height, width, channels)"
        )
    raise ModelError(
        f"model {model.name!r} takes images of {wanted} channels. Received: channels={received}. "
        f"Choose a model of {received} channels"
        + (", or convert the images" if wanted == 1 else "")
    )


def _thrice(image: Any) -> Any:
    return keras.layers.Concatenate(name="grey_to_colour")([image, image, image])


def _keeps(model: keras.Model, num_classes: int, head: Head, imagenet: bool) -> bool:
    """Whether the head stays."""
    shape = tuple(model.outputs[0].shape[1:])
    same = shape == (num_classes,)
    if head == "keep" and not same:
        raise ModelError(
            f"model {model.name!r} scores other classes. Received: outputs={shape} for "
            f"{num_classes} classes of the data. Replace its head: head: new"
        )
    return head == "keep" or (head == "auto" and same and not imagenet)


def _scores(body: keras.Model) -> Any:
    """The outputs, with a softmax where they are logits."""
    last = next(layer for layer, _, out in walk.calls(body) if out is body.outputs[0])
    function = getattr(getattr(last, "activation", None), "__name__", "")
    if isinstance(last, keras.layers.Softmax) or function == "softmax":
        return body.outputs[0]
    return keras.layers.Softmax(name=_free("scores", body))(body.outputs[0])


def _new_head(body: keras.Model, num_classes: int) -> tuple[Any, list[str]]:
    """Scores of a new dense layer on the features of `body`, and the names of new layers."""
    x = _features(body)
    kept = keras.Model(body.inputs, x)  # whose names are taken
    if len(x.shape) == 4 and tuple(x.shape[1:3]) == (1, 1):
        x = keras.layers.Flatten(name=_free("features", kept))(x)
    elif len(x.shape) == 4:
        x = keras.layers.GlobalAveragePooling2D(name=_free("pool", kept))(x)
    if len(x.shape) != 2:
        raise ModelError(
            f"model {body.name!r} has no features for a new head. Received: a tensor of shape "
            f"{tuple(x.shape)} before its last layer. Expected: [B, C] or [B, H, W, C]"
        )
    name = _free("logits", kept)
    x = keras.layers.Dense(num_classes, name=name)(x)
    return keras.layers.Softmax(name=_free("scores", kept))(x), [name]


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


def _free(name: str, model: keras.Model) -> str:
    """`name`, with a number behind it if a layer of the model has that name."""
    nested = {layer.name for layer, _, _ in walk.calls(model)}
    taken = nested | {layer.name for layer in model.layers}
    names = (name if n == 1 else f"{name}_{n}" for n in range(1, len(taken) + 2))
    return next(free for free in names if free not in taken)
