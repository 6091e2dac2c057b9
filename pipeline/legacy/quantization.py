"""Quantization-aware training with tfmot that keeps zeros and clusters.

tfmot decides by layer patterns what to quantize, and one of its rules leaves a convolution
before a separate ReLU unquantized without a word. Here every layer is annotated explicitly
instead, and a layer with a kernel that ends without a quantizer is an error.

Pruned and clustered kernels keep their structure through a constraint that runs after every
update (zeros are put back, weights of one cluster take their mean), and a clustered kernel gets
one scale for the whole tensor, so that its int8 values are as few as its clusters even after
batch normalization is folded into per-channel scales.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from tensorflow_model_optimization.python.core.quantization.keras import (
    quantize_wrapper,
    quantizers,
)
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_configs as configs,
)
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_registry as registry,
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
from pipeline.legacy import bridge

KERNELS = {"Conv2D": "kernel", "DepthwiseConv2D": "depthwise_kernel", "Dense": "kernel"}
PER_AXIS = ("Conv2D", "DepthwiseConv2D")
# What the converter computes in int8 as part of a layer with weights, and as a layer of its own.
FUSED = ("linear", "relu", "relu6", "sigmoid", "softmax", "tanh", "gelu")
SEPARATE = (*FUSED, "swish")
MOST_CLUSTERS = 256  # a kernel with more distinct values is not clustered
FEWEST_ZEROS = 0.02  # a kernel with a smaller fraction of zeros is not pruned
Fit = Callable[[tf_keras.Model, list[tf_keras.callbacks.Callback]], None]


def quantize_aware(model: keras.Model, fit: Fit) -> tuple[tf_keras.Model, list[dict[str, Any]]]:
    """Train an int8 twin of `model`, which stays as it is.

    Args:
        model: Trained functional Keras 3 model, perhaps pruned or clustered.
        fit: Trains the tf_keras model it is given on images scaled by `bridge.rescaled`.

    Returns:
        The tf_keras model that simulates int8, and a row per layer: `layer`, `kind`,
        `treatment` ("quantized" or "skipped") and `reason`.

    Raises:
        ModelError: a layer has no twin in tf_keras, cannot be int8, or would stay unquantized.
    """
    legacy = bridge.to_legacy(model, scaled_input=True)
    kept = {layer.name: _structure(layer) for layer in legacy.layers}
    rows: list[dict[str, Any]] = []

    def annotate(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        config, reason = _config(layer, kept[layer.name])
        treatment = "skipped" if config is None else "quantized"
        kind = type(layer).__name__
        rows.append({"layer": layer.name, "kind": kind, "treatment": treatment, "reason": reason})
        if config is None:
            return layer
        return tfmot.quantization.keras.quantize_annotate_layer(layer, config)

    annotated = tf_keras.models.clone_model(legacy, clone_function=annotate)
    names = {"WeightsConfig": WeightsConfig, "NoOpQuantizeConfig": configs.NoOpQuantizeConfig}
    with tfmot.quantization.keras.quantize_scope(names):
        quantized = tfmot.quantization.keras.quantize_apply(annotated, scheme=_Scheme())
    _fix_input_range(quantized, model)
    _constrain(quantized, kept)
    fit(quantized, [])
    return quantized, rows


def save(quantized: tf_keras.Model, directory: Path) -> None:
    """Write a SavedModel with a batch of 1, which the TFLite converter can read at any time."""
    shape = (1, *quantized.input_shape[1:])

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name="image")])
    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"scores": quantized(image, training=False)}

    module = tf.Module()  # saving the model itself would trace every layer of it
    module.owned = quantized.variables
    tf.saved_model.save(module, str(directory), signatures=serve)


class SharedRange(quantizers.LastValueQuantizer):
    """Quantizes a kernel per output channel, with the same range for all of its channels.

    One scale for the whole kernel keeps the number of distinct int8 values at the number of
    clusters. It is written as a per-channel one because the converter folds a following batch
    normalization into per-channel scales only; otherwise it leaves the convolution in float.
    """

    def __init__(self) -> None:
        super().__init__(num_bits=8, per_axis=True, symmetric=True, narrow_range=True)

    def __call__(
        self, inputs: tf.Tensor, training: bool, weights: dict[str, tf.Variable], **_: Any
    ) -> tf.Tensor:
        """Round `inputs` `[kh, kw, c_in, c_out]` to 255 levels of one scale."""
        if training:
            ends = tf.fill(inputs.shape[-1:], tf.reduce_max(tf.abs(inputs)))
            low, high = weights["min_var"].assign(-ends), weights["max_var"].assign(ends)
        else:
            low, high = weights["min_var"], weights["max_var"]
        return tf.quantization.fake_quant_with_min_max_vars_per_channel(
            inputs, low, high, num_bits=8, narrow_range=True
        )


class WeightsConfig(registry.Default8BitQuantizeConfig):
    """Quantizes the kernel, with a range per output channel or a shared one, and the output."""

    def __init__(
        self,
        weight_attrs: list[str],
        activation_attrs: list[str],
        quantize_output: bool,
        ranges: str = "tensor",
    ) -> None:
        super().__init__(weight_attrs, activation_attrs, quantize_output)
        self.ranges = ranges
        if ranges == "shared":
            self.weight_quantizer = SharedRange()
        elif ranges == "channel":
            wanted = registry.Default8BitConvQuantizeConfig([], [], False)
            self.weight_quantizer = wanted.weight_quantizer

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this object."""
        return {**super().get_config(), "ranges": self.ranges}


class _Layout:
    """Adds the quantizer of the input and leaves every other layer as annotated."""

    def apply(self, model: tf_keras.Model, quantize_map: dict[str, Any]) -> Any:
        return model_transformer.ModelTransformer(
            model, [transforms.InputLayerQuantize()], set(quantize_map), quantize_map
        ).transform()


class _Scheme(scheme.Default8BitQuantizeScheme):
    def get_layout_transformer(self) -> _Layout:
        return _Layout()


def _config(layer: tf_keras.layers.Layer, kept: str | None) -> tuple[Any, str | None]:
    """How a layer is quantized (None: not at all), and the reason why not."""
    kind = type(layer).__name__
    _refuse(layer)
    if kind == "Softmax":
        return None, "int8 softmax has a fixed output scale"
    follower = _only_reader(layer)
    absorbed = _absorbed(follower)
    if kind in KERNELS:
        ranges = "shared" if kept == "clusters" else "channel"
        ranges = ranges if kind in PER_AXIS else "tensor"
        fused = _activation(layer)
        later = absorbed or type(follower).__name__ == "BatchNormalization"
        activations = [] if fused == "relu6" or (fused == "linear" and later) else ["activation"]
        output = fused == "relu6"  # tfmot's activation quantizer does not know it
        return WeightsConfig([KERNELS[kind]], activations, output, ranges), None
    if kind == "AveragePooling2D":
        return configs.NoOpQuantizeConfig(), None  # the operator keeps the scale of its input
    if kind in ("BatchNormalization", "Add") and absorbed:
        return configs.NoOpQuantizeConfig(), None
    if kind != "BatchNormalization" and registry.Default8BitQuantizeRegistry().supports(layer):
        return registry.Default8BitQuantizeRegistry().get_quantize_config(layer), None
    return configs.Default8BitOutputQuantizeConfig(), None


def _refuse(layer: tf_keras.layers.Layer) -> None:
    kind, activation = type(layer).__name__, _activation(layer) or "linear"
    known = SEPARATE if kind == "Activation" else FUSED
    if kind == "SeparableConv2D":
        advice = "Build it as a DepthwiseConv2D and a Conv2D"
    elif activation not in known:
        advice = f"Use one of {', '.join(known)}"
        if activation in SEPARATE:
            advice += ", or a layer Activation"
    else:
        return
    raise ModelError(
        f"layer {layer.name!r} cannot be quantized. Received: {kind} with "
        f"activation={activation!r}. {advice}"
    )


def _absorbed(layer: Any) -> bool:
    """Whether the converter makes this activation a part of the operator before it."""
    if type(layer).__name__ == "ReLU":
        plain = not layer.negative_slope and not layer.threshold
        return plain and layer.max_value in (None, 6)
    return type(layer).__name__ == "Activation" and _activation(layer) in ("relu", "relu6")


def _activation(layer: Any) -> str:
    return getattr(getattr(layer, "activation", None), "__name__", "")


def _only_reader(layer: tf_keras.layers.Layer) -> Any:
    nodes = layer.outbound_nodes
    return nodes[0].outbound_layer if len(nodes) == 1 else None


def _structure(layer: tf_keras.layers.Layer) -> str | None:
    """What earlier stages left in a kernel: "clusters", "zeros" or nothing."""
    if type(layer).__name__ not in KERNELS:
        return None
    kernel = getattr(layer, KERNELS[type(layer).__name__]).numpy()
    distinct = len(np.unique(kernel))
    if distinct <= MOST_CLUSTERS and distinct < kernel.size / 2:
        return "clusters"
    return "zeros" if np.mean(kernel == 0) >= FEWEST_ZEROS else None


def _constrain(quantized: tf_keras.Model, kept: dict[str, str | None]) -> None:
    """Make every kernel with structure keep it in training."""
    for wrapper in quantized.layers:
        if not isinstance(wrapper, quantize_wrapper.QuantizeWrapper):
            continue
        name, kind = wrapper.layer.name, type(wrapper.layer).__name__
        if kind not in KERNELS:
            continue
        if not wrapper._weight_vars:
            raise ModelError(
                f"layer {name!r} ended without a quantizer for its kernel. Received: {kind}. "
                "Please report it with the model"
            )
        kernel = wrapper._weight_vars[0][0]
        if kept[name] == "zeros":
            kernel._constraint = _keep_zeros(kernel.numpy())
        elif kept[name] == "clusters":
            kernel._constraint = _keep_clusters(kernel.numpy())


def _keep_zeros(kernel: np.ndarray) -> Callable[[tf.Tensor], tf.Tensor]:
    mask = tf.constant((kernel != 0).astype(kernel.dtype))
    return lambda updated: updated * mask


def _keep_clusters(kernel: np.ndarray) -> Callable[[tf.Tensor], tf.Tensor]:
    """Give every weight the mean of its cluster: the same as sharing one trained centroid."""
    centroids, cluster = np.unique(kernel, return_inverse=True)
    cluster = tf.constant(cluster.reshape(-1), tf.int32)
    # a cluster of zeros stays at zero
    factor = (centroids != 0) / np.bincount(cluster, minlength=len(centroids))
    weight = tf.constant(factor, kernel.dtype)

    def constraint(updated: tf.Tensor) -> tf.Tensor:
        flat = tf.reshape(updated, [-1])
        means = tf.math.unsorted_segment_sum(flat, cluster, len(centroids)) * weight
        return tf.reshape(tf.gather(means, cluster), updated.shape)

    return constraint


def _fix_input_range(quantized: tf_keras.Model, model: keras.Model) -> None:
    """Give the input exactly the range of the pixels; tfmot would start from -6..6."""
    low, high = (float(v) for v in bridge.rescaled(model, np.array([0.0, 255.0])))
    ends = {"min_var": low, "max_var": high}
    for layer in quantized.layers:
        if type(layer).__name__ == "QuantizeLayer":
            for name, end in ends.items():
                layer.quantizer_vars[name].assign(end)
