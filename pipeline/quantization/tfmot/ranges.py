"""Ranges of activations before quantization-aware training, measured in the float network.

tfmot starts every range at -6..6 and moves it by 0.1% of the way to the range of each batch, so
after 300 steps three quarters of it are still that guess. Measured ranges are right from the start.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tf_keras
from tensorflow_model_optimization.python.core.quantization.keras import quantize_wrapper

BATCH = 10  # images; minimum and maximum are averaged over batches, as training does


def calibrate(quantized: tf_keras.Model, annotated: tf_keras.Model, images: np.ndarray) -> None:
    """Give every activation of `quantized` the range that it has in `annotated`.

    Args:
        quantized: The model that simulates int8, made from `annotated`.
        annotated: The same network in float, with the same weights.
        images: `[N, H, W, C]`, already scaled for the network.
    """
    probes = list(_probes(quantized, annotated))
    outputs = tf_keras.Model(
        annotated.inputs, [tensor for _, tensors in probes for tensor in tensors]
    )
    ends = []
    for start in range(0, len(images), BATCH):
        found = outputs.predict_on_batch(images[start : start + BATCH])
        found = iter(found if isinstance(found, list) else [found])
        ends.append([_ends([next(found) for _ in tensors]) for _, tensors in probes])
    for (variables, _), (low, high) in zip(probes, np.mean(ends, axis=0), strict=True):
        if low < high:
            variables["min_var"].assign(low)
            variables["max_var"].assign(high)


def _ends(made: list[np.ndarray]) -> tuple[float, float]:
    """Least and largest value, 0 among them, of what the calls of one layer make."""
    return min(0.0, *(float(x.min()) for x in made)), max(0.0, *(float(x.max()) for x in made))


def _probes(
    quantized: tf_keras.Model, annotated: tf_keras.Model
) -> Iterator[tuple[Any, list[Any]]]:
    """Yield the variables of every range with the float tensors whose range they are.

    They are several of a layer that is called several times.
    """
    twins = {getattr(layer, "layer", layer).name: layer for layer in annotated.layers}
    for layer in quantized.layers:
        if not isinstance(layer, quantize_wrapper.QuantizeWrapper):
            continue
        twin = twins[layer.layer.name]
        for activation in layer._quantize_activations:
            if variables := getattr(activation, "_pre_activation_vars", None):
                given = [twin.get_input_at(place) for place in range(len(twin.inbound_nodes))]
                yield variables, _before_activation(getattr(twin, "layer", twin), given)
            if variables := getattr(activation, "_post_activation_vars", None):
                yield variables, _made(twin)
        if layer.quantize_config.get_output_quantizers(layer.layer):
            yield layer._output_quantizer_vars, _made(twin)


def _made(layer: tf_keras.layers.Layer) -> list[Any]:
    return [layer.get_output_at(place) for place in range(len(layer.inbound_nodes))]


def _before_activation(layer: tf_keras.layers.Layer, given: list[Any]) -> list[Any]:
    """The input of the activation of a layer, in every call."""
    if type(layer).__name__ == "Activation":
        return given
    config = {**layer.get_config(), "activation": "linear", "name": f"{layer.name}_linear"}
    linear = type(layer).from_config(config)
    found = [linear(one) for one in given]
    linear.set_weights(layer.get_weights())
    return found
