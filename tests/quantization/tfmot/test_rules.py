"""How each layer is quantized: which ranges it gets, what is folded, what int8 lacks."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_configs as configs,
)
from tf_keras import Input, Model, layers

from pipeline.errors import ModelError
from pipeline.quantization.tfmot import rules


def chained(*chain: Any) -> Model:
    inputs = x = Input((8, 8, 3))
    for layer in chain:
        x = layer(x)
    return Model(inputs, x)


def conv(activation: str | None = None) -> Any:
    return layers.Conv2D(4, 3, activation=activation)


# what follows


@pytest.mark.parametrize(
    ("before", "folded"),
    [
        (conv(), True),
        (layers.DepthwiseConv2D(3), True),
        (conv("relu"), False),
        (layers.Conv2DTranspose(4, 3), False),
        (layers.MaxPooling2D(2), False),
    ],
)
def test_a_normalization_is_folded_into_a_convolution_before_it(before: Any, folded: bool) -> None:
    norm = layers.BatchNormalization()
    chained(before, norm)
    assert rules.folds(norm) is folded


def test_a_normalization_is_not_folded_into_a_convolution_that_is_read_twice() -> None:
    before, norm = conv(), layers.BatchNormalization()
    inputs = Input((8, 8, 3))
    x = before(inputs)
    Model(inputs, layers.Add()([norm(x), x]))
    assert not rules.folds(norm)
    assert rules.only_reader(before) is None


def test_the_only_reader_of_a_layer_is_the_next_one() -> None:
    before, after = conv(), layers.ReLU()
    chained(before, after)
    assert rules.only_reader(before) is after
    assert rules.only_reader(after) is None


# ranges


@pytest.mark.parametrize(
    ("layer", "after", "attributes", "output"),
    [
        (conv(), [], ["activation"], False),
        (conv("relu"), [], ["activation"], False),
        (conv("relu6"), [], [], True),
        (conv(), [layers.ReLU(6.0)], [], False),
        (conv(), [layers.Activation("relu")], [], False),
        (conv(), [layers.BatchNormalization()], [], False),
        (conv(), [layers.LeakyReLU()], ["activation"], False),
        (conv(), [layers.ReLU(5.0)], ["activation"], False),
    ],
)
def test_what_the_converter_merges_gets_no_range_between(
    layer: Any, after: list[Any], attributes: list[str], output: bool
) -> None:
    chained(layer, *after)
    config, reason = rules.config(layer, None)
    assert (config.activation_attrs, config.quantize_output) == (attributes, output)
    assert (config.weight_attrs, reason) == (["kernel"], None)


@pytest.mark.parametrize(
    ("layer", "kept", "ranges"),
    [
        (conv(), None, "channel"),
        (conv(), "zeros", "channel"),
        (conv(), "channel_clusters", "channel"),
        (conv(), "clusters", "shared"),
        (layers.DepthwiseConv2D(3), "clusters", "depthwise"),
        (layers.Conv2DTranspose(4, 3), None, "transposed"),
        (layers.Conv2DTranspose(4, 3), "clusters", "tensor"),
        (layers.Dense(4), "clusters", "tensor"),
    ],
)
def test_a_kernel_has_the_ranges_that_keep_what_it_holds(
    layer: Any, kept: str | None, ranges: str
) -> None:
    chained(layer)
    assert rules.config(layer, kept)[0].ranges == ranges


def test_only_convolutions_and_dense_layers_have_fewer_bits() -> None:
    found = {}
    for layer in (conv(), layers.Dense(4), layers.DepthwiseConv2D(3), layers.Conv2DTranspose(4, 3)):
        chained(layer)
        config, reason = rules.config(layer, None, bits=4)
        found[type(layer).__name__] = (config.weight_quantizer.num_bits, reason)
    eight = (8, "weights of 8 bits")
    assert found == {
        "Conv2D": (4, None),
        "Dense": (4, None),
        "DepthwiseConv2D": eight,
        "Conv2DTranspose": eight,
    }


@pytest.mark.parametrize(
    ("before", "layer", "kind", "reason"),
    [
        (conv(), layers.AveragePooling2D(2), "NoOp", "the operator keeps the scale of its input"),
        (conv(), layers.BatchNormalization(), "Output", "part of the layer before it"),
        (conv("relu"), layers.BatchNormalization(), "Output", None),
        (conv(), layers.PReLU(), "Output", "slopes quantized by the converter"),
        (conv(), layers.Rescaling(2.0), "Output", None),
        (conv(), layers.MaxPooling2D(2), "Output", None),
    ],
)
def test_a_layer_without_a_kernel_quantizes_its_output(
    before: Any, layer: Any, kind: str, reason: str | None
) -> None:
    chained(before, layer)
    config, said = rules.config(layer, None)
    assert said == reason
    if kind == "NoOp":
        assert isinstance(config, configs.NoOpQuantizeConfig)
    else:
        assert not isinstance(config, configs.NoOpQuantizeConfig)


def test_a_sum_before_a_relu_gets_its_range_behind_the_relu() -> None:
    inputs, total = Input((8, 8, 3)), layers.Add()
    Model(inputs, layers.ReLU()(total([inputs, conv()(layers.ZeroPadding2D(1)(inputs))[..., :3]])))
    assert isinstance(rules.config(total, None)[0], configs.NoOpQuantizeConfig)


def test_softmax_is_left_alone() -> None:
    softmax = layers.Softmax()
    chained(softmax)
    assert rules.config(softmax, None) == (None, "int8 softmax has a fixed output scale")


@pytest.mark.parametrize("ranges", ["tensor", "shared", "channel", "depthwise", "transposed"])
def test_a_config_is_rebuilt_from_its_arguments(ranges: str) -> None:
    config = rules.WeightsConfig(["kernel"], ["activation"], True, ranges, bits=4)
    again = rules.WeightsConfig(**config.get_config())
    assert again.get_config() == config.get_config()
    assert type(again.weight_quantizer) is type(config.weight_quantizer)
    assert again.weight_quantizer.num_bits == 4


# quantizers


KERNEL = np.random.default_rng(0).normal(size=(3, 3, 4, 2)).astype("float32")


def test_a_shared_range_rounds_all_channels_with_one_scale() -> None:
    quantizer = rules.SharedRange()
    ends = {name: tf.Variable([0.0, 0.0]) for name in ("min_var", "max_var")}
    found = quantizer(tf.constant(KERNEL), training=True, weights=ends)
    step = np.abs(KERNEL).max() / 127
    np.testing.assert_allclose(found, np.round(KERNEL / step) * step, atol=1.01 * step / 2)
    assert np.abs(found / step - np.round(found / step)).max() < 1e-3
    np.testing.assert_array_equal(
        found, quantizer(tf.constant(KERNEL), training=False, weights=ends)
    )
    assert ends["max_var"].numpy().tolist() == [np.abs(KERNEL).max()] * 2


def test_depthwise_ranges_round_each_channel_with_a_scale_of_its_own() -> None:
    step = np.abs(KERNEL).max(axis=(0, 1), keepdims=True) / 127
    kernel = tf.Variable(KERNEL)
    with tf.GradientTape() as tape:
        found = rules.DepthwiseRanges()(kernel)
        total = tf.reduce_sum(3 * found)
    np.testing.assert_allclose(found, np.round(KERNEL / step) * step, atol=1e-5)
    np.testing.assert_array_equal(tape.gradient(total, kernel), np.full(KERNEL.shape, 3.0))


def test_a_channel_of_zeros_is_no_division_by_zero() -> None:
    zeros = tf.zeros((3, 3, 2, 1))
    np.testing.assert_array_equal(rules.DepthwiseRanges()(zeros), zeros)


# what int8 lacks


@pytest.mark.parametrize(
    ("layer", "received"),
    [
        (layers.Conv2D(4, 3, activation="elu", name="culprit"), "Conv2D with activation='elu'"),
        (layers.Activation("elu", name="culprit"), "Activation with activation='elu'"),
        (layers.ELU(name="culprit"), "ELU"),
        (layers.GroupNormalization(1, name="culprit"), "GroupNormalization"),
        (layers.ReLU(threshold=0.5, name="culprit"), "ReLU with threshold=0.5"),
        (layers.ReLU(3.0, negative_slope=0.5, name="culprit"), "ReLU with negative_slope=0.5"),
    ],
)
def test_a_layer_that_int8_lacks_is_refused(layer: Any, received: str) -> None:
    chained(layer)
    with pytest.raises(ModelError, match=f"'culprit'.*Received: {received}"):
        rules.config(layer, None)
