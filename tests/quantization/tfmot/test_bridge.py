"""The door between Keras 3 and tf_keras: what crosses is the same, what cannot is refused."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tf_keras
from keras import layers

import search_spaces
from pipeline.errors import ModelError
from pipeline.quantization.tfmot import bridge, twins
from search_spaces.base import build

EXACT = 1e-5
CLASSES = 10


class Middle:
    """The value in the middle of every choice."""

    def Choice(self, name: str, values: list[Any]) -> Any:
        return values[len(values) // 2]


def conv(x: Any) -> Any:
    return layers.Conv2D(x.shape[-1], 3, padding="same")(x)


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


def network(body: Callable[[Any], Any], shape: tuple[int, ...] = (9, 8, 4)) -> keras.Model:
    inputs = keras.Input(shape)
    return randomized(keras.Model(inputs, body(inputs)))


def randomized(model: keras.Model) -> keras.Model:
    """Give every weight a random value; the zeros and ones of a fresh network hide mistakes."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name in ("mean", "variance", "count"):  # of a Normalization
            continue
        center, spread = (1.0, 0.3) if weight.ndim == 1 else (0.0, 1 / np.sqrt(weight.shape[-2]))
        value = rng.uniform(center - spread, center + spread, weight.shape)
        weight.assign(value if weight.ndim == 1 else value / np.sqrt(np.prod(weight.shape[:-2])))
    return model


def images(model: keras.Model) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (3, *model.input_shape[1:])).astype("float32")


def outputs(model: Any, pixels: np.ndarray) -> np.ndarray:
    return np.asarray(model(pixels, training=False))


def assert_same(model: keras.Model, legacy: tf_keras.Model, scale: float = 1.0) -> None:
    pixels = scale * images(model)
    expected = outputs(model, pixels)
    assert np.ptp(expected) > 0
    error = np.max(np.abs(expected - outputs(legacy, pixels)))
    assert error <= EXACT * max(1, np.max(np.abs(expected)))


def test_every_kind_of_layer_that_crosses_is_tried_here() -> None:
    assert set(TWINS) == {*twins.SETTINGS, *twins.CHAINS}


@pytest.mark.parametrize(
    ("kind", "number"), [(kind, i) for kind, cases in TWINS.items() for i in range(len(cases))]
)
def test_a_layer_computes_the_same_on_the_other_side(kind: str, number: int) -> None:
    model = network(TWINS[kind][number])
    assert kind in [type(layer).__name__ for layer in model.layers]
    legacy = bridge.to_legacy(model)
    assert isinstance(legacy, tf_keras.Model)
    assert_same(model, legacy)


# Families with layers that tf_keras does not have, and the first such layer of each.
REFUSED = {"convnext": "ChannelScale", "vit": "ClassToken"}


@pytest.mark.parametrize("name", search_spaces.families())
def test_a_family_crosses_exactly_or_is_refused_by_the_name_of_a_layer(name: str) -> None:
    arch = search_spaces.family(name).sample(Middle())
    model = randomized(build(name, arch, (32, 32, 3), CLASSES))
    if name in REFUSED:
        with pytest.raises(ModelError, match=REFUSED[name]):
            bridge.to_legacy(model)
        return
    assert_same(model, bridge.to_legacy(model), scale=255)


@pytest.mark.parametrize(
    "name", ["MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "ResNet50V2", "DenseNet121"]
)
def test_a_published_network_crosses_exactly(name: str) -> None:
    make = getattr(keras.applications, name)
    # without the softmax, which would hide differences
    options = {"weights": None, "classes": CLASSES, "classifier_activation": None}
    model = randomized(make(input_shape=(32, 32, 3), **options))
    assert_same(model, bridge.to_legacy(model))


def test_layers_keep_their_names_and_the_model_its_own() -> None:
    model = network(lambda x: layers.ReLU(name="b")(layers.Conv2D(2, 3, name="a")(x)))
    legacy = bridge.to_legacy(model)
    assert [layer.name for layer in legacy.layers[1:]] == ["a", "b"]
    assert legacy.name == model.name


def test_a_normalization_goes_on_averaging_at_the_same_pace() -> None:
    model = network(layers.BatchNormalization(momentum=0.8, name="norm"))
    assert bridge.to_legacy(model).get_layer("norm").momentum == 0.8


@pytest.fixture
def small() -> keras.Model:
    """A leading rescaling, a convolution with its normalization, a dense layer."""

    def body(x: Any) -> Any:
        x = layers.Rescaling(1 / 128, -1.0, name="rescaling")(x)
        x = layers.BatchNormalization(name="norm")(layers.Conv2D(5, 3, name="conv")(x))
        return layers.Dense(3, name="logits")(layers.GlobalAveragePooling2D()(x))

    return network(body)


def test_weights_trained_on_the_other_side_come_back(small: keras.Model) -> None:
    legacy = bridge.to_legacy(small)
    before = outputs(small, images(small))
    for weight in legacy.weights:
        weight.assign(weight * 1.5 + 0.1)
    bridge.to_keras(legacy, small)
    assert np.max(np.abs(outputs(small, images(small)) - before)) > 0.1
    for layer in ("conv", "norm", "logits"):
        pairs = zip(
            small.get_layer(layer).get_weights(), legacy.get_layer(layer).get_weights(), strict=True
        )
        assert all(np.array_equal(here, there) for here, there in pairs)


def test_crossing_leaves_the_model_as_it_was(small: keras.Model) -> None:
    before = small.get_weights()
    legacy = bridge.to_legacy(small)
    for weight in legacy.weights:
        weight.assign(weight * 0)
    assert all(
        np.array_equal(old, new) for old, new in zip(before, small.get_weights(), strict=True)
    )


def test_coming_back_from_another_network_is_an_error(small: keras.Model) -> None:
    other = network(
        lambda x: layers.Dense(3, name="logits")(
            layers.GlobalMaxPooling2D()(
                layers.BatchNormalization(name="norm")(layers.Conv2D(5, 3, name="conv")(x))
            )
        )
    )
    with pytest.raises(ModelError, match="changed on its way"):
        bridge.to_keras(bridge.to_legacy(other), small)


def test_a_scaled_input_drops_the_leading_rescaling(small: keras.Model) -> None:
    legacy = bridge.to_legacy(small, scaled_input=True)
    assert "rescaling" not in [layer.name for layer in legacy.layers]
    pixels = 127 * (1 + images(small))
    scaled = bridge.rescaled(small, pixels)
    np.testing.assert_allclose(scaled, pixels / 128 - 1, atol=1e-6)
    np.testing.assert_allclose(outputs(legacy, scaled), outputs(small, pixels), atol=EXACT)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(lambda x: conv(layers.Rescaling([1.0, 2.0, 3.0, 4.0])(x)), id="per channel"),
        pytest.param(lambda x: layers.Add()([x, layers.Rescaling(2.0)(x)]), id="not alone"),
        pytest.param(lambda x: layers.Rescaling(2.0)(conv(x)), id="not first"),
    ],
)
def test_a_rescaling_that_no_input_scale_can_stand_for_is_kept(body: Callable[[Any], Any]) -> None:
    model = network(body)
    legacy = bridge.to_legacy(model, scaled_input=True)
    assert "Rescaling" in [type(layer).__name__ for layer in legacy.layers]
    assert bridge.rescaled(model, 7.0) == 7.0
    assert_same(model, legacy)


def test_a_nested_model_is_opened() -> None:
    inner = keras.Sequential([keras.Input((9, 8, 4)), layers.Conv2D(4, 3, name="inside")])
    model = network(lambda x: layers.ReLU()(inner(layers.ZeroPadding2D(0)(x))))
    legacy = bridge.to_legacy(model)
    assert "inside" in [layer.name for layer in legacy.layers]
    assert_same(model, legacy)


def test_layers_of_the_same_name_in_different_models_both_cross() -> None:
    def inner() -> keras.Model:
        return keras.Sequential([keras.Input((9, 8, 4)), layers.Conv2D(4, 3, name="conv")])

    model = network(lambda x: layers.Add()([inner()(x), inner()(x)]))
    legacy = bridge.to_legacy(model)
    assert {"conv", "conv_2"} <= {layer.name for layer in legacy.layers}
    assert_same(model, legacy)
    for weight in legacy.weights:
        weight.assign(weight * 1.5)
    bridge.to_keras(legacy, model)
    assert_same(model, legacy)


def test_a_shared_layer_has_one_twin_that_is_called_as_often() -> None:
    def body(x: Any) -> Any:
        layer = layers.Conv2D(4, 3, padding="same", name="shared")
        return layer(layer(x))

    model = network(body)
    legacy = bridge.to_legacy(model)
    assert len(legacy.get_layer("shared").inbound_nodes) == 2
    assert_same(model, legacy)


def test_a_shared_nested_model_shares_its_layers() -> None:
    inner = keras.Sequential([keras.Input((9, 8, 4)), layers.Conv2D(4, 3, padding="same")])
    model = network(lambda x: inner(inner(x)))
    legacy = bridge.to_legacy(model)
    assert len(legacy.weights) == len(model.weights)
    assert_same(model, legacy)


def test_several_inputs_and_outputs_cross() -> None:
    image, numbers = keras.Input((9, 8, 4)), keras.Input((5,))
    x = layers.Flatten()(conv(image))
    both = layers.Concatenate()([x, layers.Dense(3)(numbers)])
    outputs = [layers.Dense(2, activation="softmax")(both), layers.Dense(1)(x)]
    model = randomized(keras.Model([image, numbers], outputs))
    legacy = bridge.to_legacy(model)
    rng = np.random.default_rng(0)
    given = [rng.normal(size=(2, *t.shape[1:])).astype("float32") for t in model.inputs]
    for here, there in zip(model(given), legacy(given), strict=True):
        np.testing.assert_allclose(here, there, atol=EXACT)


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
    ("body", "scale", "offset"),
    [
        pytest.param(lambda x: x / 127.5 - 1.0, 1 / 127.5, -1.0, id="operations"),
        pytest.param(
            lambda x: layers.Rescaling(2.0)(layers.Normalization(axis=None, mean=4, variance=4)(x)),
            1.0,
            -4.0,
            id="chain",
        ),
        pytest.param(
            lambda x: keras.Sequential([keras.Input((9, 8, 4)), layers.Rescaling(2.0)])(x),
            2.0,
            0.0,
            id="nested",
        ),
    ],
)
def test_whatever_scales_all_pixels_alike_becomes_the_scale_of_the_input(
    body: Callable[[Any], Any], scale: float, offset: float
) -> None:
    model = network(lambda x: conv(body(x)))
    legacy = bridge.to_legacy(model, scaled_input=True)
    assert [type(layer).__name__ for layer in legacy.layers] == ["InputLayer", "Conv2D"]
    np.testing.assert_allclose(
        bridge.rescaled(model, np.array([0.0, 1.0])), [offset, offset + scale], rtol=1e-6
    )


def test_scores_that_say_nothing_do_not_hide_a_difference() -> None:
    """All scores are 0 or 1, and another offset before them leaves them so."""

    def body(x: Any) -> Any:
        x = layers.Flatten()(layers.Rescaling(1e4)(x))
        return layers.Softmax()(layers.Dense(3, name="logits")(x))

    model = network(body)
    legacy = bridge.to_legacy(model)
    kernel, bias = legacy.get_layer("logits").get_weights()
    legacy.get_layer("logits").set_weights([kernel * 1.01, bias])
    with pytest.raises(ModelError, match="changed on its way"):
        bridge.compare(model, legacy, scaled_input=False)


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


@pytest.mark.parametrize(
    "body",
    [
        lambda x: x + conv(x),
        lambda x: x * conv(x) - x,
        lambda x: 3.0 - x,
        lambda x: (x * 2.0 + 1.0) / 4.0,
        lambda x: -x * np.array([1.0, 2.0, 3.0, 4.0], "float32"),
        lambda x: layers.ReLU(6.0)(x + 3.0) * (1.0 / 6.0),
        lambda x: keras.ops.hard_silu(4 * x),
        lambda x: keras.ops.hard_sigmoid(4 * x),
        lambda x: keras.ops.softmax(keras.ops.gelu(x, approximate=False)),
        lambda x: keras.ops.reshape(x, (-1, 9 * 8 * 4)),
        lambda x: keras.ops.mean(x, axis=(1, 2), keepdims=True),
        lambda x: keras.ops.concatenate([keras.ops.maximum(x, conv(x)), x], axis=-1),
    ],
)
def test_an_operation_becomes_a_layer(body: Callable[[Any], Any]) -> None:
    model = network(body)
    assert_same(model, bridge.to_legacy(model))


@pytest.mark.parametrize(
    ("body", "operation"),
    [
        (lambda x: 2.0 / x, "TrueDivide"),
        (lambda x: keras.ops.sin(x), "Sin"),
        (lambda x: keras.ops.maximum(x, 0.0), "Maximum"),
        (lambda x: keras.ops.mean(x, axis=1), "Mean"),
    ],
)
def test_an_operation_without_a_layer_is_an_error_that_names_it(
    body: Callable[[Any], Any], operation: str
) -> None:
    with pytest.raises(ModelError, match=f"Received: operation {operation}. Use a layer"):
        bridge.to_legacy(network(body))
