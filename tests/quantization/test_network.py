"""What is read of a converted network: its layers, the scaling of the image, joined operators."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from support.simulated import classifier, noise, settled

from pipeline.errors import ModelError
from pipeline.quantization import calibration, grouping, network


def conv(**settings: Any) -> Any:
    return layers.Conv2D(4, 3, **settings)


def kinds(net: network.Network) -> list[str]:
    return [step.kind for step in net.steps]


def test_steps_have_the_names_of_their_layers() -> None:
    net = network.of(classifier(lambda x: layers.ReLU(name="relu")(conv(name="one")(x))))
    assert kinds(net) == ["CONV_2D", "MEAN", "FULLY_CONNECTED", "SOFTMAX"]
    names = [step.layer for step in net.steps]
    assert names[0] in ("one", "relu")
    assert names[2] == "logits"
    assert net.steps[0].activation == 1  # a ReLU
    assert net.image.shape == (1, 12, 10, 3)
    assert net.scores.shape == (1, 3)
    assert {"one", "relu", "rescaling", "logits"} <= set(net.layers)


def test_a_layer_that_is_called_twice_is_told() -> None:
    layer = layers.Conv2D(3, 3, padding="same", name="block")
    net = network.of(classifier(lambda x: layer(layer(x))))
    assert network.apart(net) == {"block": 2}
    assert network.apart(network.of(classifier(conv()))) == {}


FIRST = {
    "rescaling": (lambda x: layers.Rescaling(1 / 255)(x), 1 / 255, 0.0),
    "twice": (lambda x: layers.Rescaling(2.0, -1.0)(layers.Rescaling(1 / 255)(x)), 2 / 255, -1.0),
    "operations": (lambda x: x / 127.5 - 1.0, 1 / 127.5, -1.0),
    "other order": (lambda x: (x - 100.0) * 0.5, 0.5, -50.0),
    "nothing": (lambda x: x, 1.0, 0.0),
    "no pixel is zero": (lambda x: x * 0.1 + 3.0, 0.1, 0.0),
    "per channel": (lambda x: layers.Rescaling([1.0, 2.0, 3.0])(x), 1.0, 0.0),
}


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("first", FIRST)
def test_the_scaling_of_the_image_is_its_grid(first: str, padding: str) -> None:
    """With or without padding: without, the converter would fold it into the kernel."""
    body, scale, offset = FIRST[first]
    inputs = keras.Input((12, 10, 3))
    layer = conv(padding=padding, name="one")
    x = layers.GlobalAveragePooling2D()(layer(body(inputs)))
    model = settled(keras.Model(inputs, layers.Dense(3)(x)))
    net = network.of(model)
    if first == "no pixel is zero":  # at most the factor is left to the grid
        scale = net.scale
        assert scale in (1.0, pytest.approx(0.1))
    assert (net.scale, net.offset) == pytest.approx((scale, offset))
    calibration.compare(net, model)
    grid = grouping.image_grid(net)
    expected = noise()[:1] * np.float32(net.scale) + np.float32(net.offset)
    np.testing.assert_allclose(grid.values(grid.numbers(expected)), expected, atol=0.51 * scale)


def test_scaling_behind_which_the_image_parts_stays() -> None:
    def body(x: Any) -> Any:
        return layers.Concatenate()([conv()(x), conv()(layers.Rescaling(0.5)(x))])

    net = network.of(classifier(body))
    assert (net.scale, net.offset) == (1 / 128, -1.0)


def test_a_normalization_without_a_convolution_is_one_operator() -> None:
    def body(x: Any) -> Any:
        x = layers.MaxPooling2D()(conv()(x))
        return conv()(layers.ReLU()(layers.BatchNormalization(name="norm")(x)))

    model = classifier(body)
    net = network.of(model)
    grouping.part(net)
    assert kinds(net).count("DEPTHWISE_CONV_2D") == 1
    assert not {"MUL", "ADD"} & set(kinds(net))
    (step,) = (step for step in net.steps if step.kind == "DEPTHWISE_CONV_2D")
    norm = model.get_layer("norm")
    gain = norm.gamma.numpy() / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    np.testing.assert_allclose(step.reads[1].data.reshape(-1), gain, rtol=1e-5)
    shift = norm.beta.numpy() - norm.moving_mean.numpy() * gain
    np.testing.assert_allclose(step.reads[2].data, shift, rtol=1e-4, atol=1e-6)
    assert step.activation == 1
    calibration.compare(net, model)


def test_vectors_that_are_added_to_images_keep_the_images_apart() -> None:
    def body(x: Any) -> Any:
        x = layers.Conv2D(4, 1)(x)
        return layers.Add()([x, layers.GlobalAveragePooling2D(keepdims=True)(x)])

    calibration.compare(network.of(classifier(body)), classifier(body))  # on two images at once


def test_another_network_is_told_from_the_one_that_was_converted() -> None:
    model = classifier(conv())
    net = network.of(model)
    model.get_layer("logits").bias.assign([0.5, 0.0, 0.0])
    with pytest.raises(ModelError, match=r"changed on its way to int8\. Received: largest"):
        calibration.compare(net, model)


# networks that people have


def sequential() -> keras.Model:
    return keras.Sequential(
        [
            *(keras.Input((12, 10, 1)), layers.Rescaling(1 / 255), conv(), layers.Flatten()),
            *(layers.Dropout(0.2), layers.Dense(3, activation="softmax")),
        ]
    )


def normalized() -> keras.Model:
    inputs = keras.Input((12, 10, 3))
    x = layers.Normalization(mean=[10.0, 20.0, 30.0], variance=[4.0, 9.0, 16.0])(inputs)
    x = layers.GlobalAveragePooling2D()(conv(activation="relu")(x))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))


def nested_twice() -> keras.Model:
    inputs = keras.Input((12, 10, 3))
    x = layers.GlobalAveragePooling2D()(conv(activation="relu")(layers.Rescaling(1 / 255)(inputs)))
    inner = keras.Model(inputs, layers.Dense(4)(x), name="inner")
    outer = keras.Input((12, 10, 3))
    both = layers.Concatenate()([inner(outer), inner(outer)])
    return keras.Model(outer, layers.Dense(3, activation="softmax")(both))


@pytest.mark.parametrize("make", [sequential, normalized, nested_twice])
def test_a_network_of_another_form_computes_the_same(make: Any) -> None:
    model = make()
    calibration.compare(network.of(model), model)
