"""What stands for a layer or an operation of Keras 3 on the tf_keras side.

A twin is one layer of the same kind, or a chain of a few that compute the same: a separable
convolution is a depthwise and a pointwise one, so that pruning, clustering and quantization see
kernels that they know; an activation that int8 does not compute as a part of a layer follows it.
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
# Settings of each layer that mean the same in both worlds; the rest of a Keras 3 configuration
# (initializers, regularizers) only matters before training or in another stage.
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
CHAINS = ("Normalization", "SeparableConv2D")  # become other layers
# They only act in training, and compression trains without them.
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
INSTEAD = {  # what does the same and crosses
    "LocalResponseNormalization": "BatchNormalization",
    "MultiHeadAttention": "convolutions",
    "RandomCrop": "Cropping2D",
    "SpectralNormalization": "the layer inside it",
    "UnitNormalization": "BatchNormalization",
}


@dataclass(frozen=True)
class Twin:
    """Layers of tf_keras, called one after the other; an identity has none."""

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
        """Divide the weights of the Keras 3 layer among the chain, in order."""
        for layer in self.chain:
            count = len(layer.weights)
            layer.set_weights(weights[:count])
            weights = weights[count:]


def of(operation: Any, name: str, arguments: tuple[Any, ...]) -> Twin:
    """Make the twin of a layer, or of an operation such as `x * 2`.

    Args:
        operation: Layer or operation of a functional Keras 3 model.
        name: Of the twin; further layers of a chain add a word to it.
        arguments: What it is called with; tensors are None.

    Raises:
        ModelError: it has none.
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
    """A layer of the same kind, and its activation behind it where int8 keeps them apart."""
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
    """The activation that stays in a layer, and the layers that follow it."""
    function = layer.activation
    known = activations.name_of(function)
    if known in activations.FUSED and function is getattr(keras.activations, known):
        return activations.get(function, layer), ()
    return None, _behind(layer, f"{name}_{known.lower()}")


def _behind(layer: Any, name: str) -> tuple[Any, ...]:
    """The activation of a layer as layers of their own."""
    if isinstance(layer.activation, keras.layers.Layer):
        return of(layer.activation, name, (None,)).chain
    return activations.layers(layer.activation, layer, name)


def _separable(layer: Any, name: str) -> Twin:
    """A depthwise convolution and a pointwise one, which keeps the name."""
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
    """`(x - mean) / deviation`, or back, as a `Rescaling`."""
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
