"""Twins: the tf_keras layers that compute what a layer or an operation of Keras 3 computes.

A twin is one layer of the same kind, or a chain of a few. A separable convolution becomes a
depthwise and a pointwise one, which are kinds that tfmot quantizes; an activation that an int8
layer cannot compute itself becomes a layer behind it.
"""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tf_keras

from pipeline.quantization.tfmot import activations, operations

_CONV = ("kernel_size", "strides", "padding", "dilation_rate", "use_bias", "activation")
_POOL = ("pool_size", "strides", "padding")
_NORM = ("axis", "epsilon", "center", "scale")
# Settings of each layer that mean the same in Keras 3 and in tf_keras. The rest of a Keras 3
# configuration (initializers, regularizers) has no effect once the network is trained.
SETTINGS: dict[str, tuple[str, ...]] = {
    "Activation": ("activation",),
    "Add": (),
    "Average": (),
    "AveragePooling2D": _POOL,
    "BatchNormalization": ("momentum", *_NORM),
    "Concatenate": ("axis",),
    "Conv2D": ("filters", "groups", *_CONV),
    "Conv2DTranspose": ("filters", *_CONV),
    "Cropping2D": ("cropping",),
    "Dense": ("units", "use_bias", "activation"),
    "DepthwiseConv2D": ("depth_multiplier", *_CONV),
    "Dropout": ("rate",),
    "ELU": ("alpha",),
    "Flatten": (),
    "GlobalAveragePooling2D": ("keepdims",),
    "GlobalMaxPooling2D": ("keepdims",),
    "GroupNormalization": ("groups", *_NORM),
    "LayerNormalization": _NORM,
    "LeakyReLU": (),
    "MaxPooling2D": _POOL,
    "Maximum": (),
    "Minimum": (),
    "Multiply": (),
    "PReLU": ("shared_axes",),
    "Permute": ("dims",),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "Rescaling": ("scale", "offset"),
    "Reshape": ("target_shape",),
    "Resizing": ("height", "width", "interpolation", "crop_to_aspect_ratio"),
    "Softmax": ("axis",),
    "SpatialDropout2D": ("rate",),
    "Subtract": (),
    "UpSampling2D": ("size", "interpolation"),
    "ZeroPadding2D": ("padding",),
}
CHAINS = ("Normalization", "SeparableConv2D")  # become layers of other kinds
# They only act in training, and quantization-aware training goes without them.
IDENTITIES = (
    "ActivityRegularization",
    "AlphaDropout",
    "AugMix",
    "CutMix",
    "GaussianDropout",
    "GaussianNoise",
    "Identity",
    "MixUp",
    "RandAugment",
    "RandomBrightness",
    "RandomColorDegeneration",
    "RandomColorJitter",
    "RandomContrast",
    "RandomErasing",
    "RandomFlip",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomHue",
    "RandomInvert",
    "RandomPerspective",
    "RandomPosterization",
    "RandomRotation",
    "RandomSaturation",
    "RandomSharpness",
    "RandomShear",
    "RandomTranslation",
    "RandomZoom",
    "StochasticDepth",
)
INSTEAD = {  # layers to use instead of one that has no twin
    "LocalResponseNormalization": "BatchNormalization",
    "MultiHeadAttention": "convolutions",
    "RandomCrop": "Cropping2D",
    "SpectralNormalization": "the layer inside it",
    "UnitNormalization": "BatchNormalization",
}


@dataclass(frozen=True)
class Twin:
    """Layers of tf_keras that are called one after the other; none for an identity."""

    chain: tuple[Any, ...]

    def __call__(self, tensors: list[Any]) -> Any:
        """Call the chain with one tensor, or with the several that its first layer merges."""
        x = tensors if len(tensors) > 1 else tensors[0]
        for layer in self.chain:
            x = layer(x)
        return x

    @property
    def scaling(self) -> tuple[float, float] | None:
        """`(scale, offset)` if the twin is `x scale + offset` with two numbers."""
        if len(self.chain) != 1 or type(self.chain[0]) is not tf_keras.layers.Rescaling:
            return None
        scale, offset = (np.asarray(v) for v in (self.chain[0].scale, self.chain[0].offset))
        return (float(scale), float(offset)) if scale.ndim == offset.ndim == 0 else None

    def set_weights(self, weights: list[np.ndarray]) -> None:
        """Give each layer of the chain its part of the weights of the Keras 3 layer, in order."""
        for layer in self.chain:
            count = len(layer.weights)
            layer.set_weights(weights[:count])
            weights = weights[count:]


def of(operation: Any, name: str, arguments: tuple[Any, ...]) -> Twin:
    """Make the twin of a layer, or of an operation such as `x * 2`.

    Args:
        operation: Layer or operation of a functional Keras 3 model.
        name: Name of the twin; further layers of a chain add a word to it.
        arguments: Arguments of the call; None in place of every tensor.

    Raises:
        ModelError: tf_keras has nothing that computes the same.
    """
    if not isinstance(operation, keras.layers.Layer):
        return Twin(operations.layers(operation, name, arguments))
    kind = type(operation).__name__
    if kind in IDENTITIES:
        return Twin(())
    if type(operation) is not getattr(keras.layers, kind, None) or (
        kind not in SETTINGS and kind not in CHAINS
    ):
        raise activations.refusal(operation, kind, f"Use {_instead(kind)} instead")
    if getattr(operation, "data_format", None) == "channels_first":
        received = "data_format='channels_first'"
        raise activations.refusal(operation, received, "Build it with channels last")
    if kind == "Normalization":
        return Twin((_normalization(operation, name),))
    if kind == "SeparableConv2D":
        return _separable(operation, name)
    return _layer(operation, kind, name)


def _layer(layer: Any, kind: str, name: str) -> Twin:
    """A layer of the same kind; its activation follows it where int8 computes them separately."""
    config = layer.get_config()
    settings = {key: config[key] for key in SETTINGS[kind] if key in config}
    if kind == "LeakyReLU":
        settings["alpha"] = config["negative_slope"]
    if kind == "Softmax":
        settings["axis"] = layer.axis
    if kind == "Activation":
        return Twin(_behind(layer, name))
    behind: tuple[Any, ...] = ()
    if "activation" in settings:
        settings["activation"], behind = _split(layer, name)
    return Twin((_made(layer, kind, settings, name), *behind))


def _split(layer: Any, name: str) -> tuple[Any, tuple[Any, ...]]:
    """The activation that stays in a layer, and the layers that compute one that does not."""
    function = layer.activation
    known = activations.name_of(function)
    if known in activations.FUSED and function is getattr(keras.activations, known):
        return activations.get(function, layer), ()
    return None, _behind(layer, f"{name}_{known.lower()}")


def _behind(layer: Any, name: str) -> tuple[Any, ...]:
    """The activation of a layer as separate layers."""
    if isinstance(layer.activation, keras.layers.Layer):
        return of(layer.activation, name, (None,)).chain
    return activations.layers(layer.activation, layer, name)


def _separable(layer: Any, name: str) -> Twin:
    """A depthwise convolution and a pointwise one, which takes the name of the layer."""
    config = layer.get_config()
    space = ("kernel_size", "strides", "padding", "dilation_rate", "depth_multiplier")
    depthwise = tf_keras.layers.DepthwiseConv2D(
        **{key: config[key] for key in space}, use_bias=False, name=f"{name}_depthwise"
    )
    activation, behind = _split(layer, name)
    pointwise = tf_keras.layers.Conv2D(
        layer.filters, 1, use_bias=layer.use_bias, activation=activation, name=name
    )
    return Twin((depthwise, pointwise, *behind))


def _normalization(layer: Any, name: str) -> Any:
    """`(x - mean) / deviation`, or its inverse, as a `Rescaling`."""
    mean, variance = (np.asarray(v, np.float64)[0] for v in (layer.mean, layer.variance))
    deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
    scale, offset = (deviation, mean) if layer.invert else (1 / deviation, -mean / deviation)
    return operations.rescaling(scale, offset, name)


def _made(layer: Any, kind: str, settings: dict[str, Any], name: str) -> Any:
    try:
        return getattr(tf_keras.layers, kind)(**settings, name=name)
    except (TypeError, ValueError) as error:
        received = f"{kind} with settings that tf_keras does not know, {settings}"
        raise activations.refusal(layer, received, "Change them") from error


def _instead(kind: str) -> str:
    return INSTEAD.get(kind, f"one of {', '.join(sorted((*SETTINGS, *CHAINS)))}")
