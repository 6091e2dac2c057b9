"""Fit a trained network to other images: another size, one channel, another range of pixels."""

from typing import Any

import keras

from pipeline.errors import ModelError
from pipeline.graph import ending, walk
from pipeline.graph.rebuild import (
    ImageShape,
    Rebuilt,
    copy_weights,
    first_convolution,
    on_images,
)
from pipeline.pretrained import heads
from pipeline.pretrained.heads import Head
from pipeline.pretrained.pixels import AS_THEY_ARE, Pixels


def adapt(
    model: keras.Model,
    input_shape: ImageShape,
    num_classes: int,
    head: Head = "auto",
    imagenet: bool = False,
    pixels: Pixels = AS_THEY_ARE,
    resizes: bool = False,
) -> tuple[keras.Model, list[str]]:
    """Rebuild a functional model for a data set, with the weights that it has.

    Args:
        model: Takes images `[B, H, W, C]`, or `[B, H, W]` of one channel.
        input_shape: `(H, W, C)` of the images. Images of one channel suit a network of three: they
            are seen as grey.
        num_classes: Of the data; one output may stand for two classes.
        head: "new": a new dense layer and softmax take the place of the last dense layer, or last
            1x1 convolution, and of what follows it. "keep": it stays. "auto": it stays if it has as
            many classes, unless those are ImageNet's.
        imagenet: Whether the classes of `model` are ImageNet's.
        pixels: What `model` was trained on; the adapted model takes 0..255 in R, G, B.
        resizes: Whether images are resized within it to the size that `model` was made for.

    Returns:
        The model, and the names of layers that start from random weights.

    Raises:
        ModelError: the model cannot take such images, or keeps a head that scores other
            classes or gives no probabilities.
    """
    _refuse_several_ends(model)
    grey = _is_grey(model, input_shape)
    kept = heads.keeps(model, num_classes, head, imagenet)
    folded = first_convolution(model) if grey else None
    turned = _turned(model) if pixels.reverse else None
    size = _size(model, input_shape) if resizes else input_shape[:2]

    def first(image: Any) -> Any:
        if size != input_shape[:2]:
            # not a Resizing layer: a model with one runs all layers as in training (Keras 3.15)
            image = keras.ops.image.resize(image, size)
        if not pixels.are_bytes:
            image = _rescaled(image, pixels, heads.free_name("pixels", model))
        if len(model.inputs[0].shape) == 3:
            return keras.layers.Reshape(size, name="one_channel")(image)
        return _thrice(image) if grey and folded is None else image

    rebuilt = on_images(model, input_shape, first)
    body = keras.Model(rebuilt.inputs, rebuilt.outputs, name=model.name)
    if kept:  # judged with the weights that the model has
        outputs, new = heads.scores(body, ending.kind(model)), list[str]()
    else:
        outputs, new = heads.new(body, num_classes)
    made = keras.Model(rebuilt.inputs, outputs, name=model.name)
    copy_weights(made, rebuilt, folded)
    if turned is not None:
        _turn(made, rebuilt, turned)
    return made, new


def _refuse_several_ends(model: keras.Model) -> None:
    walk.graph(model)  # refuses what is no graph of layers
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelError(
            f"model {model.name!r} is no image classifier. Received: {len(model.inputs)} inputs, "
            f"{len(model.outputs)} outputs. Expected: one of each. Give the part that takes images "
            "and gives scores: keras.Model(image, scores)"
        )


def _size(model: keras.Model, input_shape: ImageShape) -> tuple[int, int]:
    """(H, W) that a model was made for; a side that may be any is that of the images."""
    height, width = model.inputs[0].shape[1:3]
    return height or input_shape[0], width or input_shape[1]


def _rescaled(image: Any, pixels: Pixels, name: str) -> Any:
    scale, offset = (
        list(one) if isinstance(one, tuple) else one for one in (pixels.scale, pixels.offset)
    )
    return keras.layers.Rescaling(scale, offset, name=name)(image)


def _turn(made: keras.Model, rebuilt: Rebuilt, first: Any) -> None:
    """Let the layer that stands for the first convolution read its channels in the other order."""
    for layer in made.layers:
        if rebuilt.origins.get(id(layer)) is first:
            kernel, *bias = layer.get_weights()
            layer.set_weights([kernel[:, :, ::-1], *bias])


def reversible(model: keras.Model) -> bool:
    """Whether a network can be made to read its channels in the other order."""
    shape = tuple(model.inputs[0].shape[1:])
    return len(shape) == 3 and shape[-1] == 3 and first_convolution(model) is not None


def _turned(model: keras.Model) -> keras.layers.Conv2D:
    """The convolution whose kernel's channels B, G, R become R, G, B."""
    found = first_convolution(model) if reversible(model) else None
    if found is None:
        raise ModelError(
            f"the channels of model {model.name!r} cannot be put into another order. Received: a "
            "model that does not begin with a convolution of three channels. Turn them within it"
        )
    return found


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
