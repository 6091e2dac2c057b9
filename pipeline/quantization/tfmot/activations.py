"""Activation functions of Keras 3 as layers of tf_keras."""

from typing import Any

import keras
import tensorflow as tf
import tf_keras

from pipeline.errors import ModelError

# Activations that an int8 layer with weights computes itself; any other becomes a layer behind it.
FUSED = ("linear", "relu", "relu6", "sigmoid", "softmax", "tanh", "gelu")
SLOPE = 0.2  # of Keras 3's leaky_relu where it is given as an activation
NAMES = {"hard_silu": "hard_swish", "silu": "swish"}  # Keras 3 name -> tf_keras name


class HardSwish(tf_keras.layers.Layer):
    """`x relu6(x + 3) / 6`, which the converter turns into one int8 operator: `[...]` -> `[...]`.

    Source: Howard et al. 2019, section 5.2, https://arxiv.org/abs/1905.02244.
    """

    def call(self, inputs: Any) -> Any:
        """Apply the activation."""
        return inputs * tf.nn.relu6(inputs + 3.0) * (1 / 6)


def name_of(function: Any) -> str:
    """The tf_keras name of an activation; the class name of a layer that is used as one."""
    name = getattr(function, "__name__", type(function).__name__)
    return NAMES.get(name, name)


def layers(function: Any, owner: Any, name: str) -> tuple[Any, ...]:
    """Layers that compute an activation exactly.

    Args:
        function: Activation function of `keras.activations`.
        owner: Layer or operation that has it; the error names it.
        name: Name of the last of the layers.

    Raises:
        ModelError: tf_keras has no such function.
    """
    known = name_of(function)
    if known == "hard_sigmoid":  # relu6(x + 3) / 6 in Keras 3, another slope in tf_keras
        shift = tf_keras.layers.Rescaling(1.0, 3.0, name=f"{name}_shift")
        clip = tf_keras.layers.ReLU(6.0, name=f"{name}_clip")
        return shift, clip, tf_keras.layers.Rescaling(1 / 6, name=name)
    if known == "hard_swish":
        return (HardSwish(name=name),)
    if function is keras.activations.leaky_relu:
        return (tf_keras.layers.LeakyReLU(SLOPE, name=name),)
    if getattr(keras.activations, known, None) is not function and known != "swish":
        advice = f"Use one of {', '.join(FUSED)}, swish, hard_sigmoid, hard_swish"
        raise refusal(owner, f"activation={known!r}", advice)
    return (tf_keras.layers.Activation(get(function, owner), name=name),)


def get(function: Any, owner: Any) -> Any:
    """The function of tf_keras of the same name.

    Raises:
        ModelError: there is none.
    """
    known = name_of(function)
    try:
        return tf_keras.activations.get(known)
    except ValueError as error:
        advice = f"Use one of {', '.join(FUSED)}, swish, hard_sigmoid, hard_swish"
        raise refusal(owner, f"activation={known!r}", advice) from error


def refusal(owner: Any, received: str, advice: str) -> ModelError:
    """Make the error of a layer or operation that has no twin in tf_keras."""
    return ModelError(
        f"layer {owner.name!r} cannot be trained as int8. Received: {received}. {advice}"
    )
