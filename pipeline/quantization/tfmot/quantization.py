"""Quantization-aware training with tfmot that keeps zeros and clusters.

tfmot decides by patterns of layers what to quantize, and one of its rules silently leaves a
convolution before a separate ReLU unquantized. Here every layer is annotated explicitly instead,
and a layer with a kernel that ends without a quantizer is an error.

Pruned and clustered kernels keep their structure through a constraint that runs after every
update: zeros are set to zero again, and the weights of a cluster are set to their mean. A kernel
whose channels share clusters gets the same scale in every channel, so that it has no more int8
values than clusters even after batch normalization is folded into the scales.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from tensorflow_model_optimization.python.core.quantization.keras import quantize_wrapper
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_configs as configs,
)
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_scheme as scheme,
)
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_transforms as transforms,
)
from tensorflow_model_optimization.python.core.quantization.keras.graph_transformations import (
    model_transformer,
)

from pipeline.errors import ModelError
from pipeline.graph import structure
from pipeline.quantization.tfmot import activations, affine, bridge, operations, ranges, rules
from pipeline.tflite import parity

log = logging.getLogger("flopsmith")
Fit = Callable[[tf_keras.Model], None]
NAMES = {
    "ChannelAffine": affine.ChannelAffine,
    "HardSwish": activations.HardSwish,
    "Part": operations.Part,
    "NoOpQuantizeConfig": configs.NoOpQuantizeConfig,
    "WeightsConfig": rules.WeightsConfig,
}
# Kinds of layers with weights but without a kernel; the converter quantizes their weights.
WITHOUT_KERNEL = (
    "BatchNormalization",
    "ChannelAffine",
    "LayerNormalization",
    "PReLU",
    "QuantizeLayer",
)


def quantize_aware(
    model: keras.Model, fit: Fit, images: np.ndarray, weight_bits: int = 8
) -> tuple[tf_keras.Model, list[dict[str, Any]]]:
    """Train a copy of `model` in tf_keras that simulates int8; `model` itself does not change.

    Args:
        model: Trained functional Keras 3 model, perhaps pruned or clustered.
        fit: Trains the tf_keras model in place, on images scaled by `bridge.rescaled`.
        images: Pixels `[N, H, W, C]` from which the first ranges of activations are measured.
        weight_bits: 8, or 4 for kernels of convolutions and dense layers.

    Returns:
        The tf_keras model that simulates int8, and a row per layer: `layer`, `kind`,
        `treatment` ("quantized" or "skipped") and `reason`.

    Raises:
        ModelError: a layer has no twin in tf_keras, cannot be int8, or would stay unquantized.
    """
    legacy = bridge.to_legacy(model, scaled_input=True)
    for name, count in bridge.apart(model).items():
        log.info("quantize: %r is called %d times; the file has a kernel for each", name, count)
    kept: dict[str, structure.Kept | None] = {
        layer.name: _structure(layer) for layer in legacy.layers
    }
    rows: list[dict[str, Any]] = []

    def annotate(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        config, reason = rules.config(layer, kept[layer.name], weight_bits)
        kind = type(layer).__name__
        convolution = affine.channel_affine(layer)
        if convolution is not None:
            layer, reason = convolution, "as a depthwise convolution of one pixel"
        treatment = "skipped" if config is None else "quantized"
        rows.append({"layer": layer.name, "kind": kind, "treatment": treatment, "reason": reason})
        if config is None:
            return layer
        return tfmot.quantization.keras.quantize_annotate_layer(layer, config)

    annotated = tf_keras.models.clone_model(legacy, clone_function=annotate)
    bridge.compare(model, annotated, scaled_input=True)  # no range is simulated yet
    with tfmot.quantization.keras.quantize_scope(NAMES):
        quantized = tfmot.quantization.keras.quantize_apply(annotated, scheme=_Scheme())
    _fix_input_range(quantized, model)
    _constrain(quantized, kept)
    ranges.calibrate(quantized, annotated, bridge.rescaled(model, images.astype(np.float32)))
    fit(quantized)
    return quantized, rows


def require(model: keras.Model) -> None:
    """Refuse a model that `quantize_aware` would refuse, without training it.

    Raises:
        ModelError: a layer has no twin in tf_keras, or cannot be int8.
    """
    for layer in bridge.to_legacy(model, scaled_input=True).layers:
        rules.config(layer, None)


def simulation(quantized: tf_keras.Model, model: keras.Model) -> parity.Reference:
    """The scores and layer outputs of a simulation of `model`, as functions of raw images."""
    nodes = [n for _, same in sorted(quantized._nodes_by_depth.items())[::-1] for n in same]
    number = {id(node): place for place, node in enumerate(nodes)}

    def prepared(images: np.ndarray) -> Any:
        return bridge.rescaled(model, images.astype(np.float32))

    def scores(images: np.ndarray) -> np.ndarray:
        return np.asarray(quantized(prepared(images), training=False))

    def calls(images: np.ndarray) -> list[parity.LayerCall]:
        inner = tf_keras.Model(quantized.inputs, [node.outputs for node in nodes])
        made = inner(prepared(images), training=False)
        return [
            parity.LayerCall(
                node.layer.name.removeprefix("quant_"),
                tuple(number[id(parent)] for parent in node.parent_nodes),
                np.asarray(values),
            )
            for node, values in zip(nodes, made, strict=True)
        ]

    return parity.Reference("simulation", scores, calls)


def save(quantized: tf_keras.Model, directory: Path) -> None:
    """Write a SavedModel with a batch of 1, which the TFLite converter can read at any time."""
    shape = (1, *quantized.input_shape[1:])

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name="image")])
    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"scores": quantized(image, training=False)}

    module = tf.Module()  # saving the model itself would trace every layer of it
    module.owned = quantized.variables
    tf.saved_model.save(module, str(directory), signatures=serve)


class _Layout:
    """Adds the quantizer of the input and leaves every other layer as it is annotated."""

    def apply(self, model: tf_keras.Model, quantize_map: dict[str, Any]) -> Any:
        return model_transformer.ModelTransformer(
            model, [transforms.InputLayerQuantize()], set(quantize_map), quantize_map
        ).transform()


class _Scheme(scheme.Default8BitQuantizeScheme):
    def get_layout_transformer(self) -> _Layout:
        return _Layout()


def _structure(layer: tf_keras.layers.Layer) -> structure.Kept | None:
    """What pruning or clustering left in the kernel of a layer; None if it has no kernel."""
    kernel = rules.KERNELS.get(type(layer).__name__)
    if kernel is None:
        return None
    return structure.of(getattr(layer, kernel).numpy(), structure.channel_axis(layer))


def _constrain(quantized: tf_keras.Model, kept: dict[str, structure.Kept | None]) -> None:
    """Add constraints that keep zeros and clusters of kernels in training.

    Raises:
        ModelError: a layer with weights ended without a quantizer for them.
    """
    for layer in quantized.layers:
        wrapped = isinstance(layer, quantize_wrapper.QuantizeWrapper)
        inner = layer.layer if wrapped else layer
        kind = type(inner).__name__
        # tfmot's wrapper holds the kernel, so it is not among the weights of the layer inside
        if kind not in rules.KERNELS and (kind in WITHOUT_KERNEL or not inner.weights):
            continue
        if not wrapped or not layer._weight_vars:
            raise ModelError(
                f"layer {inner.name!r} ended without a quantizer for its kernel. Received: {kind}. "
                "Please report it with the model"
            )
        kernel = layer._weight_vars[0][0]
        if structured := kept[inner.name]:
            axis = structure.channel_axis(inner)
            kernel._constraint = structure.constraint(kernel.numpy(), structured, axis)


def _fix_input_range(quantized: tf_keras.Model, model: keras.Model) -> None:
    """Set the range of the input to that of the pixels; tfmot would start from -6..6."""
    low, high = (float(v) for v in bridge.rescaled(model, np.array([0.0, 255.0])))
    ends = {"min_var": low, "max_var": high}
    for layer in quantized.layers:
        if type(layer).__name__ == "QuantizeLayer":
            for name, end in ends.items():
                layer.quantizer_vars[name].assign(end)
