"""Parameters, MACs and activation memory: published networks, and layers counted by hand."""

from collections.abc import Callable
from typing import Any

import keras
import pytest
from keras import layers

from pipeline.errors import ModelError
from pipeline.graph import complexity

# Networks without weights, 224 x 224 pixels, 1000 classes: parameters, trainable ones, MACs of
# convolutions and dense layers. Where torchvision has the same architecture, the MACs agree with
# its published figures.
PUBLISHED = {
    "MobileNet": (4_253_864, 4_231_976, 568_740_352),
    "MobileNetV2": (3_538_984, 3_504_872, 300_774_272),
    "MobileNetV3Small": (2_554_968, 2_542_856, 56_510_400),
    "ResNet50": (25_636_712, 25_583_592, 3_857_973_248),
    "ResNet50V2": (25_613_800, 25_568_360, 3_482_255_360),
    "VGG16": (138_357_544, 138_357_544, 15_470_264_320),
    "DenseNet121": (8_062_504, 7_978_856, 2_834_161_664),
    "EfficientNetB0": (5_330_571, 5_288_548, 385_814_752),
}


class Subclassed(keras.Model):
    def call(self, x: Any) -> Any:
        return x


def network(body: Callable[[Any], Any], shape: tuple[int | None, ...]) -> keras.Model:
    inputs = keras.Input(shape)
    return keras.Model(inputs, body(inputs))


def count(body: Callable[[Any], Any], *shape: int | None) -> complexity.Profile:
    return complexity.profile(network(body, shape))


def twice(x: Any, layer: Any) -> Any:
    return layer(layer(x))


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("MobileNetV2", "ResNet50") else pytest.param(name, marks=pytest.mark.slow)
        for name in PUBLISHED
    ],
)
def test_a_published_network_has_its_published_cost(name: str) -> None:
    make = getattr(keras.applications, name)
    profile = complexity.profile(make(weights=None, input_shape=(224, 224, 3)))
    assert (profile.params, profile.trainable_params, profile.macs) == PUBLISHED[name]


def test_flops_are_two_per_mac() -> None:
    profile = count(layers.Conv2D(1, 5), 32, 32, 3)  # 2 * D1 * F^2 * D2 * H2 * W2
    assert profile.flops == profile.layers[0].flops == 117_600


def test_a_bias_counts_as_parameters_and_not_as_macs() -> None:
    with_bias, without = (count(layers.Dense(7, use_bias=bias), 5) for bias in (True, False))
    assert (with_bias.params, without.params) == (42, 35)
    assert with_bias.macs == without.macs


def test_moving_statistics_are_parameters_that_are_not_trainable() -> None:
    profile = count(layers.BatchNormalization(), 8, 8, 5)
    assert (profile.params, profile.trainable_params) == (20, 10)


def test_a_frozen_layer_keeps_its_parameters() -> None:
    profile = count(layers.Dense(7, trainable=False), 5)
    assert (profile.params, profile.trainable_params) == (42, 0)


def test_a_shared_layer_counts_its_parameters_once_and_its_macs_twice() -> None:
    profile = count(lambda x: twice(x, layers.Dense(5, use_bias=False)), 5)
    assert [(layer.params, layer.macs) for layer in profile.layers] == [(25, 25), (0, 25)]
    assert (profile.params, profile.macs) == (25, 50)


def test_the_layers_of_a_nested_model_are_counted_one_by_one() -> None:
    inner = network(lambda x: layers.Conv2D(3, 3, padding="same")(layers.ReLU()(x)), (8, 8, 3))
    profile = count(lambda x: layers.Flatten()(inner(x)), 8, 8, 3)
    assert [layer.kind for layer in profile.layers] == ["ReLU", "Conv2D", "Flatten"]
    assert profile.macs == 3 * 3 * 3 * 3 * 8 * 8


def test_a_nested_model_called_twice_counts_its_parameters_once_and_its_macs_twice() -> None:
    inner = keras.Sequential([keras.Input((5,)), layers.Dense(5), layers.ReLU()])
    profile = count(lambda x: twice(x, inner), 5)
    assert (profile.params, profile.macs) == (30, 50)
    assert sum(layer.params for layer in profile.layers) == 30


def test_a_sequential_model_costs_what_the_same_functional_one_does() -> None:
    stack = [layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2)]
    sequential = complexity.profile(keras.Sequential([keras.Input((8, 8, 3)), *stack]))
    functional = count(lambda x: stack[2](stack[1](stack[0](x))), 8, 8, 3)
    assert sequential == functional


def test_the_layers_add_up_to_the_model() -> None:
    profile = count(lambda x: layers.Dense(3)(layers.BatchNormalization()(x)), 6)
    assert profile.params == sum(layer.params for layer in profile.layers) == 24 + 21
    assert profile.trainable_params == sum(layer.trainable_params for layer in profile.layers)


@pytest.mark.parametrize(
    "model", [Subclassed(), keras.Sequential([layers.Dense(3)])], ids=["Subclassed", "Sequential"]
)
def test_a_model_without_a_graph_is_an_error_that_names_its_class(model: keras.Model) -> None:
    with pytest.raises(ModelError, match=f"Received: {type(model).__name__}"):
        complexity.profile(model)


def test_a_model_without_a_graph_inside_another_is_an_error() -> None:
    with pytest.raises(ModelError, match="Received: Subclassed"):
        count(Subclassed(), 8, 8, 3)


def test_the_activations_of_all_layers_are_added_up() -> None:
    profile = count(
        lambda x: layers.MaxPooling2D(2)(layers.Conv2D(4, 3, padding="same")(x)), 4, 4, 2
    )
    assert profile.activations == 4 * 4 * 4 + 2 * 2 * 4


def chain(x: Any) -> Any:
    """Values: input 32, a 64, b 64, c 4; a is dropped once b is there."""
    return layers.Conv2D(1, 3)(conv4(conv4(x)))


def residual(x: Any) -> Any:
    """As `chain`, but a is kept for the sum: a, b and the sum are there together."""
    a = conv4(x)
    return layers.GlobalAveragePooling2D()(layers.Add()([a, conv4(a)]))


def nested(x: Any) -> Any:
    """`residual` inside a model of its own."""
    return network(residual, (4, 4, 2))(x)


def nested_twice(x: Any) -> Any:
    """Two calls of one nested model: a, b and their sum, as in `residual`."""
    inner = network(conv4, (4, 4, 4))
    a = inner(layers.Concatenate()([x, x]))
    return layers.Add()([a, inner(a)])


def conv4(x: Any) -> Any:
    return layers.Conv2D(4, 3, padding="same")(x)


@pytest.mark.parametrize(
    ("body", "peak"),
    [(chain, 64 + 64), (residual, 3 * 64), (nested, 3 * 64), (nested_twice, 3 * 64)],
)
def test_peak_activations_are_those_alive_at_once(body: Callable[[Any], Any], peak: int) -> None:
    assert count(body, 4, 4, 2).peak_activations == peak


def test_the_input_counts_while_it_is_needed() -> None:
    def keeps_input(x: Any) -> Any:
        return layers.Concatenate()([x, conv4(conv4(x))])

    # input 32, a 64, b 64, when b is made; then input, b and their concatenation of 96
    assert count(keeps_input, 4, 4, 2).peak_activations == 32 + 64 + 96
