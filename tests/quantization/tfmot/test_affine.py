"""A factor and a shift per channel as one depthwise convolution of one pixel."""

from typing import Any

import numpy as np
import pytest
import tf_keras

from pipeline.quantization.tfmot import affine


def called(layer: Any, shape: tuple[int, ...], before: Any = None) -> Any:
    """The layer within a model, with random weights."""
    inputs = tf_keras.Input(shape)
    layer(before(inputs) if before else inputs)
    rng = np.random.default_rng(0)
    layer.set_weights([rng.uniform(0.5, 2.0, weight.shape) for weight in layer.get_weights()])
    return layer


@pytest.mark.parametrize("shape", [(5, 6, 3), (3,)], ids=["images", "vectors"])
@pytest.mark.parametrize(
    "layer",
    [
        tf_keras.layers.BatchNormalization,
        lambda: tf_keras.layers.BatchNormalization(center=False, epsilon=0.5),
        lambda: tf_keras.layers.BatchNormalization(scale=False),
        lambda: tf_keras.layers.Rescaling([1.0, -2.0, 3.0], [0.5, 0.0, -1.0]),
        lambda: tf_keras.layers.Rescaling([1.0, -2.0, 3.0], 0.5),
    ],
)
def test_it_computes_what_the_layer_does(layer: Any, shape: tuple[int, ...]) -> None:
    layer = called(layer(), shape)
    made = affine.channel_affine(layer)
    assert made is not None
    assert made.name == layer.name
    assert [weight.shape for weight in made.get_weights()] == [(3,), (3,)]
    x = np.random.default_rng(1).normal(size=(4, *shape)).astype("float32")
    np.testing.assert_allclose(made(x), layer(x, training=False), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "shape", "before"),
    [
        pytest.param(
            tf_keras.layers.BatchNormalization(),
            (5, 6, 3),
            tf_keras.layers.Conv2D(3, 1),
            id="folded",
        ),
        pytest.param(tf_keras.layers.BatchNormalization(axis=1), (5, 6, 3), None, id="other axis"),
        pytest.param(tf_keras.layers.BatchNormalization(), (5, 3), None, id="sequences"),
        pytest.param(tf_keras.layers.Rescaling(2.0, 1.0), (5, 6, 3), None, id="one for all"),
        pytest.param(tf_keras.layers.ReLU(), (5, 6, 3), None, id="another kind"),
    ],
)
def test_other_layers_stay(layer: Any, shape: tuple[int, ...], before: Any) -> None:
    assert affine.channel_affine(called(layer, shape, before)) is None
