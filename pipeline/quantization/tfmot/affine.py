"""Layers that scale and shift each channel become a depthwise convolution of one pixel.

A batch normalization that follows no convolution (in DenseNet and ResNetV2, after a dense layer,
or as the first layer), or a rescaling per channel, would become two int8 operators, MUL and ADD.
Each of them rounds, and the first has a range that training does not simulate. A depthwise
convolution is one operator: the factor of every channel is exact in int8 because every channel has
its own scale, the shift is an int32 bias, and a ReLU behind it costs nothing. The statistics of
the normalization are frozen.
"""

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from pipeline.quantization.tfmot import rules


class ChannelAffine(tf_keras.layers.Layer):
    """`x factor + shift`, with a factor and a shift per channel: `[B, ..., C]` -> `[B, ..., C]`."""

    def build(self, input_shape: Any) -> None:
        """Create the factors and shifts."""
        shape = (input_shape[-1],)
        self.factor = self.add_weight(name="factor", shape=shape, initializer="ones")
        self.shift = self.add_weight(name="shift", shape=shape, initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Convolve; a vector is an image of one pixel."""
        flat = len(inputs.shape) == 2
        images = tf.reshape(inputs, [-1, 1, 1, inputs.shape[-1]]) if flat else inputs
        kernel = tf.reshape(self.factor, [1, 1, -1, 1])
        moved = tf.nn.depthwise_conv2d(images, kernel, [1, 1, 1, 1], "VALID") + self.shift
        return tf.reshape(moved, [-1, inputs.shape[-1]]) if flat else moved


def channel_affine(layer: tf_keras.layers.Layer) -> ChannelAffine | None:
    """Make the layer that computes what `layer` does.

    `gamma (x - mean) / sqrt(variance + epsilon) + beta` is `x factor + shift`.

    Args:
        layer: Any layer within a tf_keras model.

    Returns:
        None if `layer` is not a factor and a shift per channel, or if the converter folds it into
        the convolution before it.
    """
    found = _numbers(layer)
    if found is None:
        return None
    shape = layer.get_input_shape_at(0)
    if len(shape) not in (2, 4):
        return None
    made = ChannelAffine(name=layer.name)
    made.build(shape)
    made.set_weights([np.broadcast_to(values, shape[-1:]) for values in found])
    return made


def _numbers(layer: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Factor and shift of each channel."""
    kind = type(layer).__name__
    if kind == "BatchNormalization" and not rules.folds(layer):
        if list(layer.axis) != [len(layer.get_input_shape_at(0)) - 1]:
            return None
        deviation = np.sqrt(layer.moving_variance.numpy() + layer.epsilon)
        factor = (layer.gamma.numpy() if layer.scale else 1.0) / deviation
        beta = layer.beta.numpy() if layer.center else 0.0
        return factor, beta - layer.moving_mean.numpy() * factor
    if kind == "Rescaling":
        scale, offset = (np.asarray(v, np.float32) for v in (layer.scale, layer.offset))
        if max(scale.ndim, offset.ndim) == 1:
            return scale, offset
    return None
