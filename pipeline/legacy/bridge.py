"""The door between Keras 3 and tf_keras: rebuild a model layer by layer, copy weights, compare.

tensorflow-model-optimization refuses Keras 3 models, so prune, cluster and quantize cross here
and come back. Layers keep their names, so weights travel by layer name.
"""

from collections import Counter
from typing import Any

import keras
import numpy as np
import tf_keras

from pipeline import complexity
from pipeline.errors import ModelError

_CONV = ("kernel_size", "strides", "padding", "dilation_rate", "use_bias", "activation")
_POOL = ("pool_size", "strides", "padding")
# Settings of each layer that mean the same in both worlds; the rest of a Keras 3 configuration
# (initializers, regularizers) only matters before training or in another stage.
TWINS: dict[str, tuple[str, ...]] = {
    "Activation": ("activation",),
    "Add": (),
    "Average": (),
    "AveragePooling2D": _POOL,
    "BatchNormalization": ("axis", "momentum", "epsilon", "center", "scale"),
    "Concatenate": ("axis",),
    "Conv2D": ("filters", "groups", *_CONV),
    "Conv2DTranspose": ("filters", *_CONV),
    "Dense": ("units", "use_bias", "activation"),
    "DepthwiseConv2D": ("depth_multiplier", *_CONV),
    "Dropout": ("rate",),
    "Flatten": (),
    "GlobalAveragePooling2D": ("keepdims",),
    "GlobalMaxPooling2D": ("keepdims",),
    "LeakyReLU": (),
    "MaxPooling2D": _POOL,
    "Maximum": (),
    "Multiply": (),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "Rescaling": ("scale", "offset"),
    "Reshape": ("target_shape",),
    "SeparableConv2D": ("filters", "depth_multiplier", *_CONV),
    "Softmax": ("axis",),
    "SpatialDropout2D": ("rate",),
    "ZeroPadding2D": ("padding",),
}
IDENTITIES = ("StochasticDepth",)  # only act in training, and compression trains without them
DIFFERENT = ("hard_sigmoid", "hard_silu", "hard_swish")  # slope 1/6 in Keras 3, 1/5 in tf_keras
TOLERANCE = 1e-4


def to_legacy(model: keras.Model, scaled_input: bool = False) -> tf_keras.Model:
    """Rebuild a functional Keras 3 model in tf_keras with the same weights and outputs.

    Args:
        model: Any functional model of stock layers; nested models are opened.
        scaled_input: Leave out a leading `Rescaling`, which the caller then does (`rescaled`):
            int8 networks do it for free in the scale and zero point of their input.

    Raises:
        ModelError: a layer has no twin, is shared, or the rebuilt model computes something else.
    """
    calls = list(complexity.calls(model))
    _refuse_shared(calls)
    tensors: dict[int, Any] = {
        id(t): tf_keras.Input(t.shape[1:], name=t.name) for t in model.inputs
    }
    inputs = list(tensors.values())
    left_out = leading_rescaling(model) if scaled_input else None
    for layer, sources, output in calls:
        args = [tensors[id(t)] for t in sources]
        if layer is left_out or type(layer).__name__ in IDENTITIES:
            tensors[id(output)] = args[0]
            continue
        twin = _twin(layer)
        tensors[id(output)] = twin(args if len(args) > 1 else args[0])
        twin.set_weights(layer.get_weights())
    legacy = tf_keras.Model(inputs, [tensors[id(t)] for t in model.outputs], name=model.name)
    _compare(model, legacy, scaled_input)
    return legacy


def to_keras(legacy: tf_keras.Model, model: keras.Model) -> None:
    """Copy the weights of `legacy` into the Keras 3 model that it was rebuilt from.

    Raises:
        ModelError: the two then disagree.
    """
    twins = {layer.name: layer for layer in legacy.layers}
    for layer, _, _ in complexity.calls(model):
        if layer.weights:
            layer.set_weights(twins[layer.name].get_weights())
    _compare(model, legacy, scaled_input=False)


def leading_rescaling(model: keras.Model) -> keras.layers.Rescaling | None:
    """The `Rescaling` with scalar settings that alone reads the image, if there is one."""
    readers = [
        layer for layer, sources, _ in complexity.calls(model) if sources[0] is model.inputs[0]
    ]
    first = readers[0] if len(readers) == 1 else None
    if not isinstance(first, keras.layers.Rescaling):
        return None
    return first if np.isscalar(first.scale) and np.isscalar(first.offset) else None


def _refuse_shared(calls: list[Any]) -> None:
    shared = [name for name, n in Counter(layer.name for layer, _, _ in calls).items() if n > 1]
    if shared:
        raise ModelError(
            f"a layer that is called twice cannot be compressed. Received: {', '.join(shared)}. "
            "Give each call a layer of its own"
        )


def _twin(layer: Any) -> Any:
    kind = type(layer).__name__
    if kind not in TWINS or type(layer) is not getattr(keras.layers, kind):
        raise ModelError(
            f"layer {layer.name!r} cannot be compressed. Received: {kind}. "
            f"Build the model from keras.layers: {', '.join(sorted(TWINS))}"
        )
    config = layer.get_config()
    if config.get("data_format") == "channels_first":
        raise ModelError(
            f"layer {layer.name!r} cannot be compressed. Received: data_format='channels_first'. "
            "Build the model with channels last"
        )
    settings = {key: config[key] for key in TWINS[kind] if key in config}
    if settings.get("activation") in DIFFERENT:
        raise ModelError(
            f"layer {layer.name!r} cannot be compressed. Received: activation="
            f"{settings['activation']!r}, which tf_keras defines differently or not at all"
        )
    if settings.get("activation") == "relu6":
        settings["activation"] = tf_keras.activations.get("relu6")
    if kind == "LeakyReLU":
        settings["alpha"] = config["negative_slope"]
    try:
        return getattr(tf_keras.layers, kind)(**settings, name=layer.name)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"layer {layer.name!r} cannot be compressed. Received: {kind} with settings that "
            f"tf_keras does not know, {settings}"
        ) from error


def rescaled(model: keras.Model, images: Any) -> Any:
    """Images 0..255 as a legacy model with `scaled_input` wants them."""
    first = leading_rescaling(model)
    return images if first is None else images * first.scale + first.offset


def _compare(model: keras.Model, legacy: tf_keras.Model, scaled_input: bool) -> None:
    shape = (2, *model.inputs[0].shape[1:])
    images = np.random.default_rng(0).uniform(0, 255, shape).astype("float32")
    expected = np.asarray(model(images, training=False))
    received = np.asarray(
        legacy(rescaled(model, images) if scaled_input else images, training=False)
    )
    difference = float(np.max(np.abs(expected - received)))
    if not difference <= TOLERANCE * max(1.0, float(np.max(np.abs(expected)))):
        raise ModelError(
            f"model {model.name!r} changed on its way to tf_keras. "
            f"Received: largest difference={difference:.2g}. Please report it with the model"
        )
