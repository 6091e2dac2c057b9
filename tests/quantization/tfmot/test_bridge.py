"""The door between Keras 3 and tf_keras: what crosses is the same, what cannot is refused."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from support.applications import shallow
from support.crossing import EXACT, assert_same, conv, images, network, outputs, randomized
from support.families import slowly

import search_spaces
from pipeline.errors import ModelError
from pipeline.quantization.tfmot import bridge
from search_spaces.base import build

pytestmark = pytest.mark.slow  # it is not the usual engine

CLASSES = 10


class Middle:
    """The value in the middle of every choice."""

    def Choice(self, name: str, values: list[Any]) -> Any:
        return values[len(values) // 2]


# Families with layers that tf_keras does not have, and the first such layer of each.
REFUSED = {"convnext": "ChannelScale", "vit": "ClassToken"}


@slowly()
def test_a_family_crosses_exactly_or_is_refused_by_the_name_of_a_layer(name: str) -> None:
    arch = search_spaces.family(name).sample(Middle())
    model = randomized(build(name, arch, (32, 32, 3), CLASSES))
    if name in REFUSED:
        with pytest.raises(ModelError, match=REFUSED[name]):
            bridge.to_legacy(model)
        return
    assert_same(model, bridge.to_legacy(model), scale=255)


@pytest.mark.parametrize("name", ["MobileNetV2", "EfficientNetB0", "DenseNet121"])
def test_a_published_network_crosses_exactly(name: str) -> None:
    # without the softmax, which would hide differences
    options = {"classes": CLASSES, "classifier_activation": None}
    model = randomized(shallow(name, input_shape=(32, 32, 3), **options))
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


def test_crossing_leaves_the_model_as_it_was(small: keras.Model) -> None:
    before = small.get_weights()
    legacy = bridge.to_legacy(small)
    for weight in legacy.weights:
        weight.assign(weight * 0)
    assert all(
        np.array_equal(old, new) for old, new in zip(before, small.get_weights(), strict=True)
    )


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


def test_a_shared_layer_has_one_twin_that_is_called_as_often() -> None:
    def body(x: Any) -> Any:
        layer = layers.Conv2D(4, 3, padding="same", name="shared")
        return layer(layer(x))

    model = network(body)
    legacy = bridge.to_legacy(model)
    assert len(legacy.get_layer("shared").inbound_nodes) == 2
    assert_same(model, legacy)


@pytest.mark.parametrize(
    "layer",
    [
        layers.Dense(4, name="shared"),
        layers.Conv2D(4, 1, name="shared"),
        layers.SeparableConv2D(4, 3, padding="same", name="shared"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_shared_matrix_has_a_twin_for_every_call(layer: Any) -> None:
    model = network(lambda x: layers.Add()([layer(x), layer(layers.ReLU()(x))]))
    legacy = bridge.to_legacy(model)
    assert bridge.apart(model) == {"shared": 2}
    assert {"shared", "shared_2"} <= {twin.name for twin in legacy.layers}
    assert_same(model, legacy)


@pytest.mark.parametrize(
    "body",
    [
        lambda x: x[..., ::-1],
        lambda x: x[:, 1:, ::2, :3],
        lambda x: keras.ops.flip(x, axis=-1),
        lambda x: keras.ops.flip(x, axis=(1, 2)),
    ],
)
def test_slices_and_flips_cross(body: Any) -> None:
    model = network(lambda x: conv(body(x)))
    assert_same(model, bridge.to_legacy(model))


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
