"""Operations and layers of preprocessing: the plain layers that compute what they do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.graph import plain, walk

SHAPE = (9, 8, 3)  # sides that cannot be confused
ops, activations = keras.ops, keras.activations
OPERATIONS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "relu": (activations.relu, "ReLU"),
    "ops.relu": (ops.relu, "ReLU"),
    "slope": (lambda x: activations.relu(x, negative_slope=0.1), "LeakyReLU"),
    "most": (lambda x: activations.relu(x, max_value=6.0), "ReLU"),
    "threshold": (lambda x: activations.relu(x, threshold=0.3), "ReLU"),
    "relu6": (ops.relu6, "ReLU"),
    "leaky": (lambda x: activations.leaky_relu(x, 0.3), "LeakyReLU"),
    "elu": (ops.elu, "ELU"),
    "gelu": (lambda x: ops.gelu(x, approximate=False), "Activation"),
    "silu": (activations.silu, "Activation"),
    "hard silu": (ops.hard_silu, "Activation"),
    "tanh": (ops.tanh, "Activation"),
    "softmax": (lambda x: ops.softmax(x, axis=-1), "Softmax"),
    "slice": (lambda x: x[:, 1:-2, 2:], "Cropping2D"),
    "slice with dots": (lambda x: x[..., :4, :], "Cropping2D"),
    "center": (layers.CenterCrop(4, 5), "Cropping2D"),
    "center, enlarged": (layers.CenterCrop(12, 5), "Resizing"),
}


def network(body: Callable[[Any], Any]) -> keras.Model:
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, layers.Flatten()(body(inputs)))


def images() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 4, (3, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_becomes_a_layer_that_computes_the_same(name: str) -> None:
    body, kind = OPERATIONS[name]
    model = network(body)
    made = plain.of(model).model
    assert kind in [type(layer).__name__ for layer in made.layers]
    np.testing.assert_allclose(made(images()), model(images()), atol=1e-5)


@pytest.mark.parametrize("mode", ["resnet50", "densenet", "mobilenet"])
def test_preprocessing_inside_a_model_stays_when_it_has_been_saved(
    mode: str, tmp_path: Path
) -> None:
    preprocess = getattr(keras.applications, mode).preprocess_input
    network(preprocess).save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    made = plain.of(model).model
    assert "Stack" not in [type(layer).__name__ for layer, _, _ in walk.calls(made)]
    np.testing.assert_allclose(made(images()), model(images()), atol=1e-4)


@pytest.mark.parametrize(
    "body",
    [
        lambda x: x[..., ::-1],
        lambda x: x[:, ::2],
        lambda x: x[:, 1],
        lambda x: x[..., :1] * 2,
        lambda x: ops.softmax(x, axis=None),
        lambda x: ops.gelu(x, approximate=True),
    ],
)
def test_an_operation_without_such_a_layer_stays(body: Callable[[Any], Any]) -> None:
    model = network(body)
    assert plain.of(model).model is model


@pytest.mark.parametrize("axis", [-1, None, (1, 2, 3)])
def test_what_a_normalization_has_seen_stays_when_its_layers_are_made_anew(axis: Any) -> None:
    layer = layers.Normalization(axis=axis)
    layer.adapt(np.random.default_rng(1).normal(3, 2, (50, *SHAPE)))
    model = network(layer)
    made = plain.of(model).model
    assert "Rescaling" in [type(one).__name__ for one in made.layers]
    np.testing.assert_allclose(made(images()), model(images()), atol=1e-5)
