"""Networks of many kinds: trained as int8, converted, and int8 throughout in the file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import layers
from support.int8 import quantized

from pipeline.errors import ModelError
from pipeline.quantization.tfmot import affine

pytestmark = pytest.mark.slow  # it is not the usual engine


def conv(x: Any, filters: int = 8, **settings: Any) -> Any:
    return layers.Conv2D(filters, 3, padding="same", **settings)(x)


def norm(x: Any) -> Any:
    return layers.BatchNormalization()(x)


def dense_block(x: Any) -> Any:
    """DenseNet: normalization and ReLU of what was concatenated, before the convolution."""
    x = layers.ReLU()(norm(conv(x)))
    new = conv(layers.ReLU()(norm(x)))
    return conv(layers.ReLU()(norm(layers.Concatenate()([x, new]))))


def preactivated(x: Any) -> Any:
    """ResNet V2: normalization after a sum."""
    x = conv(x)
    x = layers.Add()([x, conv(layers.ReLU()(norm(x)))])
    return layers.ReLU()(norm(x))


def squeezed(x: Any) -> Any:
    """Squeeze and excite: the channels are weighted."""
    x = layers.ReLU()(norm(conv(x)))
    weight = layers.GlobalAveragePooling2D(keepdims=True)(x)
    weight = layers.Dense(8, activation="sigmoid")(layers.Dense(4, activation="relu")(weight))
    return layers.Multiply()([x, weight])


def inverted(x: Any) -> Any:
    x = layers.ReLU(6.0)(norm(conv(x)))
    x = layers.ReLU(6.0)(norm(layers.DepthwiseConv2D(3, padding="same")(x)))
    return norm(conv(x))


def activations(x: Any) -> Any:
    """Every activation, fused or not, with and without normalization."""
    x = layers.ReLU(6.0)(conv(x))
    x = layers.Activation("relu6")(conv(x))
    x = conv(conv(conv(x, activation="relu6"), activation="relu"), activation="sigmoid")
    x = layers.LeakyReLU(0.1)(norm(conv(x)))
    return layers.ReLU(negative_slope=0.1)(layers.ReLU(negative_slope=0.1)(conv(x)))


def linear(x: Any) -> Any:
    """Convolutions and a sum without activation, read by a convolution that has one."""
    x = conv(conv(x), activation="relu")
    return conv(layers.Add()([x, conv(x)]), activation="relu")


def branches(x: Any) -> Any:
    """A normalized convolution that is read twice, poolings, a grouped convolution."""
    x = norm(conv(x))
    x = layers.Add()([layers.ReLU()(x), x])
    x = layers.MaxPooling2D(2)(layers.AveragePooling2D(2)(x))
    return layers.Concatenate()([x, layers.ReLU()(norm(conv(x, groups=2)))])


def dense_normalized(x: Any) -> Any:
    """Normalization after dense layers, before and after the activation, and of the input."""
    x = layers.Flatten()(conv(norm(x)))
    return norm(layers.ReLU()(norm(layers.Dense(8)(x))))


def hard(x: Any) -> Any:
    """MobileNetV3: hard-swish, squeeze and excite with a gate made of operations."""
    x = layers.Activation("hard_swish")(norm(conv(x)))
    gate = conv(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = x * (layers.ReLU(6.0)(gate + 3.0) * (1 / 6))
    return layers.Multiply()([x, layers.Activation("hard_sigmoid")(x)])


def rare(x: Any) -> Any:
    """Layers that few networks have, and activations that follow their layer."""
    x = layers.SeparableConv2D(8, 3, padding="same", activation="swish")(x)
    y = layers.UpSampling2D(2)(layers.MaxPooling2D(2)(layers.PReLU(shared_axes=[1, 2])(x)))
    x = layers.Subtract()(
        [layers.Minimum()([x, y]), layers.Cropping2D(1)(layers.ZeroPadding2D()(y))]
    )
    x = layers.ReLU()(norm(layers.Conv2DTranspose(8, 3, 2)(x)))
    return layers.GlobalMaxPooling2D()(layers.Rescaling([0.5] * 8, [0.1] * 8)(x))


def shared(x: Any) -> Any:
    layer = layers.Conv2D(8, 3, padding="same", activation="relu", name="shared")
    return layer(layer(conv(x)))


def separate_relu(x: Any) -> Any:
    return layers.ReLU()(conv(x))


def fused_relu(x: Any) -> Any:
    return conv(x, activation="relu6")


def in_turn(*bodies: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """One network of several, since training and conversion take seconds however small it is."""

    def body(x: Any) -> Any:
        for one in bodies:
            x = one(x)
        return x

    return body


@pytest.mark.parametrize(
    "bodies",
    [
        [inverted],
        [shared],
        [separate_relu, activations, linear, branches],
        [squeezed, dense_block, preactivated, dense_normalized],
        [hard, rare],
    ],
    ids=lambda bodies: ", ".join(body.__name__ for body in bodies),
)
def test_a_network_becomes_int8_throughout(
    tmp_path: Path, bodies: list[Callable[[Any], Any]]
) -> None:
    made = quantized(in_turn(*bodies), tmp_path)
    assert made.graph.float_operators == ()
    assert {kernel.dtype for kernel in made.graph.kernels} == {"INT8"}
    assert made.difference <= 0.02


def test_every_pixel_fits_the_input_although_training_saw_only_grey(tmp_path: Path) -> None:
    (taken,) = quantized(separate_relu, tmp_path, pixels=(100, 150)).graph.inputs
    assert taken.scales.tolist() == pytest.approx([1 / 128], rel=1e-6)
    assert taken.zero_points.tolist() == [128]


def test_a_kernel_without_structure_gets_a_scale_per_channel(tmp_path: Path) -> None:
    made = quantized(in_turn(fused_relu, inverted), tmp_path)
    kernels = made.graph.kernels[:-1]  # the last one is of a dense layer
    assert len(kernels) == 4
    assert [len(set(kernel.scales.tolist())) for kernel in kernels] == [8] * len(kernels)


def test_every_channel_of_a_depthwise_kernel_has_a_scale_of_its_own(tmp_path: Path) -> None:
    """tfmot has one for all, in which small channels round to nothing."""

    def small_channels(x: Any) -> Any:
        layer = layers.DepthwiseConv2D(3)
        x = layer(conv(x))
        sizes = np.logspace(-4, 0, 8)
        kernel = np.asarray(layer.kernel)
        layer.kernel.assign(kernel / np.max(np.abs(kernel), (0, 1), keepdims=True) * sizes[:, None])
        return norm(x)

    made = quantized(small_channels, tmp_path, learning_rate=0.0)
    (kernel,) = (op.kernel for op in made.graph.operators if op.name == "DEPTHWISE_CONV_2D")
    assert np.max(np.abs(kernel.data), axis=(0, 1, 2)).tolist() == [127] * 8
    assert made.difference <= 0.02


def test_a_replaced_layer_that_computes_something_else_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(affine.ChannelAffine, "set_weights", lambda *_: None)
    with pytest.raises(ModelError, match="largest difference="):
        quantized(layers.Rescaling([1.0, 2.0, 3.0]), tmp_path)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(layers.Conv2D(4, 3, activation="elu", name="culprit"), id="fused elu"),
        pytest.param(layers.Activation("elu", name="culprit"), id="elu"),
        pytest.param(layers.ELU(name="culprit"), id="layer elu"),
        pytest.param(layers.ReLU(threshold=0.5, name="culprit"), id="threshold"),
        pytest.param(layers.ReLU(3.0, negative_slope=0.5, name="culprit"), id="slope and maximum"),
        pytest.param(layers.GroupNormalization(1, name="culprit"), id="group normalization"),
    ],
)
def test_a_layer_that_cannot_be_int8_is_an_error_that_names_it(
    tmp_path: Path, body: Callable[[Any], Any]
) -> None:
    with pytest.raises(ModelError, match="culprit"):
        quantized(body, tmp_path)
