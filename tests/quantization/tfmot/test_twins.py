"""Twins: every kind of layer that crosses to tf_keras computes the same; others are refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from keras import layers
from support.crossing import assert_same, conv, images, network, outputs

from pipeline.errors import ModelError
from pipeline.quantization.tfmot import bridge, twins

pytestmark = pytest.mark.slow  # it is not the usual engine

# Every kind of layer that crosses, with settings unlike the defaults where these matter; images
# are 9 x 8 x 4, so that sides and channels cannot be confused.
TWINS: dict[str, list[Callable[[Any], Any]]] = {
    "Activation": [
        lambda x: layers.Activation("relu6")(layers.Rescaling(10)(x)),
        lambda x: layers.Activation("silu")(x),
        lambda x: layers.Activation("softmax")(x),
        lambda x: layers.Activation("leaky_relu")(x),
        lambda x: layers.Activation("hard_sigmoid")(layers.Rescaling(4)(x)),
        lambda x: layers.Activation("hard_swish")(layers.Rescaling(4)(x)),
    ],
    "Add": [lambda x: layers.Add()([x, conv(x)]), lambda x: layers.Add()([x, x])],
    "Average": [lambda x: layers.Average()([x, conv(x), conv(x)])],
    "AveragePooling2D": [
        lambda x: layers.AveragePooling2D((3, 2), (2, 1), "same")(x),
        lambda x: layers.AveragePooling2D(3)(x),
    ],
    "BatchNormalization": [
        lambda x: layers.BatchNormalization(epsilon=0.5)(x),
        lambda x: layers.BatchNormalization(axis=1)(x),
        lambda x: layers.BatchNormalization(center=False)(x),
        lambda x: layers.BatchNormalization(scale=False)(x),
    ],
    "Concatenate": [
        lambda x: layers.Concatenate()([x, conv(x)]),
        lambda x: layers.Concatenate(axis=1)([conv(x), x]),
    ],
    "Conv2D": [
        lambda x: layers.Conv2D(6, (3, 2), (2, 1), padding="valid", use_bias=False)(x),
        lambda x: layers.Conv2D(6, 3, 2, padding="same", activation="relu6")(x),
        lambda x: layers.Conv2D(6, 3, dilation_rate=(2, 1), activation="gelu")(x),
        lambda x: layers.Conv2D(6, 3, groups=2)(x),
        lambda x: layers.Conv2D(6, 3, activation="hard_silu")(x),
        lambda x: layers.Conv2D(6, 3, activation=layers.LeakyReLU(0.3))(x),
    ],
    "Conv2DTranspose": [
        lambda x: layers.Conv2DTranspose(6, (3, 2), 2, padding="same", use_bias=False)(x),
        lambda x: layers.Conv2DTranspose(6, 3, (1, 2), activation="tanh")(x),
        lambda x: layers.Conv2DTranspose(6, 3, dilation_rate=2)(x),
    ],
    "Cropping2D": [lambda x: layers.Cropping2D(((0, 1), (2, 3)))(x)],
    "Dense": [
        lambda x: layers.Dense(5, activation="sigmoid")(x),
        lambda x: layers.Dense(5, use_bias=False, activation="softmax")(layers.Flatten()(x)),
    ],
    "DepthwiseConv2D": [
        lambda x: layers.DepthwiseConv2D((3, 2), depth_multiplier=2, use_bias=False)(x),
        lambda x: layers.DepthwiseConv2D(3, 2, padding="same", activation="tanh")(x),
        lambda x: layers.DepthwiseConv2D(3, dilation_rate=2)(x),
    ],
    "ELU": [lambda x: layers.ELU(0.3)(x)],
    "Dropout": [lambda x: layers.Dropout(0.5)(x)],
    "Flatten": [lambda x: layers.Flatten()(conv(x))],
    "GlobalAveragePooling2D": [
        lambda x: layers.GlobalAveragePooling2D()(x),
        lambda x: layers.GlobalAveragePooling2D(keepdims=True)(x),
    ],
    "GlobalMaxPooling2D": [
        lambda x: layers.GlobalMaxPooling2D()(x),
        lambda x: layers.GlobalMaxPooling2D(keepdims=True)(x),
    ],
    "GroupNormalization": [lambda x: layers.GroupNormalization(2, epsilon=0.1)(x)],
    "LayerNormalization": [lambda x: layers.LayerNormalization(epsilon=0.1)(x)],
    "LeakyReLU": [lambda x: layers.LeakyReLU(0.07)(x), lambda x: layers.LeakyReLU()(x)],
    "MaxPooling2D": [
        lambda x: layers.MaxPooling2D((3, 2), (2, 1), "same")(x),
        lambda x: layers.MaxPooling2D(3)(x),
    ],
    "Maximum": [lambda x: layers.Maximum()([x, conv(x)])],
    "Minimum": [lambda x: layers.Minimum()([x, conv(x)])],
    "Multiply": [lambda x: layers.Multiply()([x, conv(x)])],
    "Normalization": [
        lambda x: layers.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=[4.0, 3.0, 2.0, 1.0])(x),
        lambda x: layers.Normalization(axis=None, mean=3.0, variance=4.0, invert=True)(x),
        lambda x: adapted(layers.Normalization(axis=(1, 2, 3)))(x),
    ],
    "PReLU": [lambda x: layers.PReLU(shared_axes=[1, 2])(x), lambda x: layers.PReLU()(x)],
    "Permute": [lambda x: layers.Permute((3, 1, 2))(x)],
    "ReLU": [
        lambda x: layers.ReLU(0.4)(x),
        lambda x: layers.ReLU(negative_slope=0.2)(x),
        lambda x: layers.ReLU(threshold=0.3)(x),
    ],
    "Rescaling": [
        lambda x: layers.Rescaling(0.5, -3.0)(x),
        lambda x: layers.Rescaling([1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0])(x),
        lambda x: layers.Rescaling(2.0, [[[1.0, 2.0, 3.0, 4.0]] * 8] * 9)(x),
    ],
    "Reshape": [lambda x: layers.Reshape((8, -1))(x)],
    "Resizing": [lambda x: layers.Resizing(5, 6)(x)],
    "SeparableConv2D": [
        lambda x: layers.SeparableConv2D(6, (3, 2), padding="same", use_bias=False)(x),
        lambda x: layers.SeparableConv2D(6, 3, 2, depth_multiplier=2, activation="tanh")(x),
        lambda x: layers.SeparableConv2D(6, 3, dilation_rate=2, activation="swish")(x),
    ],
    "Softmax": [lambda x: layers.Softmax()(x), lambda x: layers.Softmax(axis=1)(x)],
    "SpatialDropout2D": [lambda x: layers.SpatialDropout2D(0.5)(x)],
    "Subtract": [lambda x: layers.Subtract()([x, conv(x)])],
    "UpSampling2D": [
        lambda x: layers.UpSampling2D((2, 3))(x),
        lambda x: layers.UpSampling2D(2, interpolation="bilinear")(x),
    ],
    "ZeroPadding2D": [lambda x: layers.ZeroPadding2D(((0, 1), (2, 3)))(x)],
}


def adapted(layer: Any) -> Any:
    layer.adapt(np.random.default_rng(2).normal(2, 3, (50, 9, 8, 4)))
    return layer


# A dilated transposed convolution; TensorFlow uses oneDNN by itself on some CPUs only.
ONEDNN_ALONE = {("Conv2DTranspose", 2)}


def test_every_kind_of_layer_that_crosses_is_tried_here() -> None:
    assert set(TWINS) == {*twins.SETTINGS, *twins.CHAINS}


@pytest.mark.parametrize(
    ("kind", "number"), [(kind, i) for kind, cases in TWINS.items() for i in range(len(cases))]
)
def test_a_layer_computes_the_same_on_the_other_side(kind: str, number: int) -> None:
    model = network(TWINS[kind][number])
    assert kind in [type(layer).__name__ for layer in model.layers]
    if (kind, number) in ONEDNN_ALONE:
        try:
            outputs(model, images(model))
        except tf.errors.InvalidArgumentError as error:
            pytest.skip(f"TensorFlow computes it with oneDNN alone, not on this CPU: {error}")
    legacy = bridge.to_legacy(model)
    assert isinstance(legacy, tf_keras.Model)
    assert_same(model, legacy)


@pytest.mark.parametrize("kind", sorted({*twins.IDENTITIES} - {"StochasticDepth"}))
def test_what_only_acts_in_training_is_left_out(kind: str) -> None:
    needed: dict[str, Any] = {
        "AlphaDropout": {"rate": 0.5},
        "GaussianDropout": {"rate": 0.5},
        "GaussianNoise": {"stddev": 1.0},
        "RandomBrightness": {"factor": 0.5},
        "RandomColorDegeneration": {"factor": 0.5},
        "RandomContrast": {"factor": 0.5},
        "RandomGrayscale": {"factor": 0.5},
        "RandomHue": {"factor": 0.5},
        "RandomPosterization": {"factor": 4},
        "RandomRotation": {"factor": 0.5},
        "RandomSaturation": {"factor": 0.5},
        "RandomSharpness": {"factor": 0.5},
        "RandomShear": {"x_factor": 0.5},
        "RandomTranslation": {"height_factor": 0.5, "width_factor": 0.5},
        "RandomZoom": {"height_factor": 0.5},
    }
    made = getattr(layers, kind)(**needed.get(kind, {}))
    model = network(lambda x: layers.ReLU()(made(x)), (9, 8, 3))
    legacy = bridge.to_legacy(model)
    assert [type(layer).__name__ for layer in legacy.layers] == ["InputLayer", "ReLU"]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(layers.UnitNormalization(name="culprit"), id="without twin"),
        pytest.param(layers.Lambda(lambda x: x + 1, name="culprit"), id="lambda"),
        pytest.param(layers.Conv2D(2, 3, activation="celu", name="culprit"), id="activation"),
        pytest.param(
            layers.Conv2D(2, 3, activation=lambda x: 2 * x, name="culprit"), id="own activation"
        ),
        pytest.param(
            layers.GlobalAveragePooling2D(data_format="channels_first", name="culprit"),
            id="channels first",
        ),
    ],
)
def test_a_layer_that_cannot_cross_is_an_error_that_names_it(body: Callable[[Any], Any]) -> None:
    with pytest.raises(ModelError, match=r"culprit.*Received: .*\. (Use|Build)"):
        bridge.to_legacy(network(body))
