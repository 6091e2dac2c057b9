"""How each layer is quantized: which tensors get a range, and which layers int8 lacks.

Every tensor of the `.tflite` file needs a range, and no other tensor may have one: where the
converter merges two layers into one operator (an activation that it absorbs, a normalization that
it folds), the tensor between them does not exist in the file and gets none.
"""

from typing import Any

import tensorflow as tf
import tf_keras
from tensorflow_model_optimization.python.core.quantization.keras import quantizers
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_configs as configs,
)
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_registry as registry,
)

from pipeline.errors import ModelError
from pipeline.quantization.tfmot import activations

KERNELS = {
    "Conv2D": "kernel",
    "Conv2DTranspose": "kernel",
    "Dense": "kernel",
    "DepthwiseConv2D": "depthwise_kernel",
}
FOLDING = ("Conv2D", "DepthwiseConv2D")  # the converter folds a normalization into them
SEPARATE = (*activations.FUSED, "swish")  # activations that int8 has as separate layers
NARROW = ("Conv2D", "Dense")  # kernels that may have fewer bits than 8
SMALLEST = 1e-12  # least range of a channel; avoids a division by zero
NOT_INT8 = {
    "ELU": "Use LeakyReLU",
    "GroupNormalization": "Use BatchNormalization",
}


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
        """Round `inputs` `[kh, kw, c_in, c_out]` to `2^bits - 1` levels of one scale."""
        if training:
            ends = tf.fill(inputs.shape[-1:], tf.reduce_max(tf.abs(inputs)))
            low, high = weights["min_var"].assign(-ends), weights["max_var"].assign(ends)
        else:
            low, high = weights["min_var"], weights["max_var"]
        return tf.quantization.fake_quant_with_min_max_vars_per_channel(
            inputs, low, high, num_bits=self.num_bits, narrow_range=True
        )


class DepthwiseRanges(quantizers.LastValueQuantizer):
    """Quantizes a depthwise kernel `[kh, kw, c_in, m]` with a range for each of its channels.

    tfmot uses one range for each of the `m` filters per channel, so that all channels share it.
    TensorFlow's fake quantization per channel does not survive the converter's reshape to
    `[1, kh, kw, c_in m]`. Plain rounding does: the converter folds it into the weights, and
    finds the same ranges in them.
    """

    def __init__(self) -> None:
        super().__init__(num_bits=8, per_axis=True, symmetric=True, narrow_range=True)

    def build(self, *_: Any) -> dict[str, tf.Variable]:
        """Create no variables: the ranges follow from the kernel."""
        return {}

    def __call__(self, inputs: tf.Tensor, *_: Any, **__: Any) -> tf.Tensor:
        """Round to multiples of `max |w| / 127` of each channel; gradients pass unchanged."""
        largest = tf.reduce_max(tf.abs(inputs), axis=(0, 1), keepdims=True)
        step = tf.maximum(largest, SMALLEST) / 127
        return inputs + tf.stop_gradient(tf.round(inputs / step) * step - inputs)


class WeightsConfig(registry.Default8BitQuantizeConfig):
    """Quantizes the kernel with the kind of ranges that `_ranges` chose, and the output."""

    def __init__(
        self,
        weight_attrs: list[str],
        activation_attrs: list[str],
        quantize_output: bool,
        ranges: str = "tensor",
        bits: int = 8,
    ) -> None:
        super().__init__(weight_attrs, activation_attrs, quantize_output)
        self.ranges, self.bits = ranges, bits
        if ranges == "shared":
            self.weight_quantizer = SharedRange()
        elif ranges == "channel":
            wanted = registry.Default8BitConvQuantizeConfig([], [], False)
            self.weight_quantizer = wanted.weight_quantizer
        elif ranges == "depthwise":
            self.weight_quantizer = DepthwiseRanges()
        elif ranges == "transposed":
            transposed = registry.Default8BitConvTransposeQuantizeConfig([], [], False)
            self.weight_quantizer = transposed.weight_quantizer
        self.weight_quantizer.num_bits = bits

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this object."""
        return {**super().get_config(), "ranges": self.ranges, "bits": self.bits}


def config(layer: tf_keras.layers.Layer, kept: str | None, bits: int = 8) -> tuple[Any, str | None]:
    """Choose how a layer is quantized.

    Args:
        layer: A layer within a tf_keras model.
        kept: What pruning or clustering left in its kernel, see `structure.of`.
        bits: Bits of a weight; depthwise and transposed convolutions have 8 in any case.

    Returns:
        tfmot's configuration (None: the layer is not quantized), and a remark for the report.

    Raises:
        ModelError: int8 has no such layer.
    """
    kind = type(layer).__name__
    _refuse(layer)
    if kind == "Softmax":
        return None, "int8 softmax has a fixed output scale"
    follower = only_reader(layer)
    absorbed = _absorbed(follower)
    if kind in KERNELS:
        fused = activation(layer)
        later = absorbed or (type(follower).__name__ == "BatchNormalization" and folds(follower))
        attributes = [] if fused == "relu6" or (fused == "linear" and later) else ["activation"]
        output = fused == "relu6"  # tfmot's activation quantizer does not know it
        own = bits if kind in NARROW else 8
        reason = None if own == bits else f"weights of {own} bits"
        ranges = _ranges(layer, kept)
        return WeightsConfig([KERNELS[kind]], attributes, output, ranges, own), reason
    if kind in ("AveragePooling2D", "Part"):
        return configs.NoOpQuantizeConfig(), "the operator keeps the scale of its input"
    if kind == "BatchNormalization" and folds(layer):
        config = configs.NoOpQuantizeConfig() if absorbed else _output()
        return config, "part of the layer before it"
    if kind in ("Add", "BatchNormalization", "Multiply", "Rescaling", "Subtract") and absorbed:
        return configs.NoOpQuantizeConfig(), None
    if kind != "BatchNormalization" and registry.Default8BitQuantizeRegistry().supports(layer):
        return registry.Default8BitQuantizeRegistry().get_quantize_config(layer), None
    return _output(), "slopes quantized by the converter" if kind == "PReLU" else None


def folds(norm: tf_keras.layers.Layer) -> bool:
    """Whether the converter folds a batch normalization into the layer before it."""
    if len(norm.inbound_nodes) != 1:
        return False
    before = norm.inbound_nodes[0].inbound_layers
    return (
        type(before).__name__ in FOLDING
        and activation(before) == "linear"
        and only_reader(before) is norm
    )


def _ranges(layer: tf_keras.layers.Layer, kept: str | None) -> str:
    """The kind of ranges of a kernel.

    "tensor" is one range, "channel" one per output channel, and "shared" one per channel with the
    same ends for all. "depthwise" and "transposed" are one per channel for these kinds of layers.
    The converter folds a normalization only into a kernel with ranges per channel.
    """
    kind = type(layer).__name__
    if kind == "Conv2D":
        return "shared" if kept == "clusters" else "channel"
    if kind == "Conv2DTranspose":
        return "tensor" if kept == "clusters" else "transposed"
    return {"DepthwiseConv2D": "depthwise"}.get(kind, "tensor")


def _output() -> Any:
    return configs.Default8BitOutputQuantizeConfig()


def _refuse(layer: tf_keras.layers.Layer) -> None:
    kind, function = type(layer).__name__, activation(layer) or "linear"
    known = SEPARATE if kind == "Activation" else activations.FUSED
    if kind in NOT_INT8:
        received, advice = kind, NOT_INT8[kind]
    elif function not in known:
        received, advice = f"{kind} with activation={function!r}", f"Use one of {', '.join(known)}"
    elif kind == "ReLU" and layer.threshold:
        received = f"ReLU with threshold={float(layer.threshold):g}"
        advice = "int8 has no ReLU that starts elsewhere than at 0. Use ReLU(threshold=0)"
    elif kind == "ReLU" and layer.negative_slope and layer.max_value is not None:
        received = f"ReLU with negative_slope={float(layer.negative_slope):g} and a max_value"
        advice = "Leave one of them out"
    else:
        return
    raise ModelError(f"layer {layer.name!r} cannot be quantized. Received: {received}. {advice}")


def _absorbed(layer: Any) -> bool:
    """Whether the converter makes this activation a part of the operator before it."""
    if type(layer).__name__ == "ReLU":
        plain = not layer.negative_slope and not layer.threshold
        return plain and layer.max_value in (None, 6)
    return type(layer).__name__ == "Activation" and activation(layer) in ("relu", "relu6")


def activation(layer: Any) -> str:
    """The name of the activation within a layer, "" if it can have none."""
    return getattr(getattr(layer, "activation", None), "__name__", "")


def only_reader(layer: tf_keras.layers.Layer) -> Any:
    """The one layer that reads the output of a layer that is called once, else None."""
    nodes = layer.outbound_nodes
    return nodes[0].outbound_layer if len(nodes) == 1 else None
