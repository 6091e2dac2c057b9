"""Activation functions of Keras 3 as layers of tf_keras: the same values, or an error."""

from typing import Any

import keras
import numpy as np
import pytest
import tf_keras

from pipeline.errors import ModelError
from pipeline.quantization.tfmot import activations

GRID = np.linspace(-8, 8, 33, dtype="float32").reshape(3, 11)


def computed(layers: tuple[Any, ...]) -> np.ndarray:
    x = GRID
    for layer in layers:
        x = layer(x)
    return np.asarray(x)


@pytest.mark.parametrize(
    "name", [*activations.FUSED, "elu", "selu", "silu", "hard_silu", "hard_sigmoid"]
)
def test_a_function_has_layers_that_compute_the_same(name: str) -> None:
    function = getattr(keras.activations, name)
    layers = activations.layers(function, keras.layers.Activation(name), "given")
    assert layers[-1].name == "given"
    np.testing.assert_allclose(computed(layers), np.asarray(function(GRID)), atol=1e-6)


def test_hard_swish_is_its_formula() -> None:
    found = computed((activations.HardSwish(),))
    np.testing.assert_allclose(found, GRID * np.clip(GRID + 3, 0, 6) / 6, atol=1e-6)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (keras.activations.relu6, "relu6"),
        (keras.activations.silu, "swish"),
        (keras.activations.hard_silu, "hard_swish"),
        (keras.layers.LeakyReLU(0.3), "LeakyReLU"),
    ],
)
def test_a_function_is_known_by_the_name_it_has_in_tf_keras(function: Any, name: str) -> None:
    assert activations.name_of(function) == name


def test_a_layer_takes_the_function_of_the_same_name() -> None:
    owner = keras.layers.Dense(2, activation="tanh")
    assert activations.get(owner.activation, owner) is tf_keras.activations.tanh


def sine(x: Any) -> Any:
    return keras.ops.sin(x)


@pytest.mark.parametrize("function", [sine, keras.activations.celu, keras.activations.glu])
def test_a_function_that_tf_keras_lacks_is_refused_with_its_layer(function: Any) -> None:
    owner = keras.layers.Activation(function, name="culprit")
    received = f"'culprit'.*Received: activation='{function.__name__}'"
    with pytest.raises(ModelError, match=received):
        activations.layers(function, owner, "x")
    with pytest.raises(ModelError, match=received):
        activations.get(function, owner)
