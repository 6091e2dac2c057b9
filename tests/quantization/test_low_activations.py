"""Activations of few bits: every formula on numbers that were worked out by hand."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from pipeline.data.datasets import Dataset
from pipeline.errors import ModelError
from pipeline.quantization import calibration, int8_file, low_activations, native, simulation
from pipeline.quantization import network as net
from pipeline.quantization.job import Form, Job
from pipeline.quantization.network import Step
from pipeline.quantization.precisions import Activations, Weights
from pipeline.quantization.simulation import Simulation
from pipeline.train import training
from pipeline.train.settings import Settings


def slopes(function: object, values: list[float]) -> list[float]:
    given = tf.Variable(values)
    with tf.GradientTape() as tape:
        made = tf.reduce_sum(function(tf.identity(given)))  # type: ignore[operator]
    return [float(slope) for slope in tape.gradient(made, given)]


def test_signs_have_the_gradient_of_a_line_between_minus_one_and_one() -> None:
    values = [-2.0, -0.5, 0.0, 0.5, 2.0]
    made = low_activations.signs(tf.constant(values))
    assert np.asarray(made).tolist() == [-1, -1, 1, 1, 1]
    assert slopes(low_activations.signs, values) == [0, 1, 1, 1, 0]


def test_activations_of_two_bits_are_thirds() -> None:
    made = low_activations.activations(tf.constant([-1.0, 0.1, 0.2, 0.6, 0.9, 3.0]), 2)
    assert np.allclose(made, [0, 0, 1 / 3, 2 / 3, 1, 1])
    assert slopes(lambda x: low_activations.activations(x, 2), [-1.0, 0.2, 3.0]) == [0, 1, 0]


def test_gradients_of_few_bits_are_right_on_average() -> None:
    given = np.tile(np.float32([[0.5, -0.2, 0.03, 0.0]]), (20000, 1))
    made = np.asarray(low_activations.gradients(given, 2, keras.random.SeedGenerator(0)))
    assert np.allclose(np.unique(np.round(made, 5)), [-0.5, -0.16667, 0.16667, 0.5])
    assert np.allclose(made.mean(axis=0)[1:], given[0, 1:], atol=0.01)


def test_the_scale_of_a_place_is_the_mean_size_of_what_a_kernel_sees() -> None:
    images = np.float32([[[[1, -3]], [[2, 2]], [[0, -4]]]])  # [1, 3, 1, 2]
    made = low_activations.channel_scale(images, (2, 1), strides=1, padding="valid")
    assert np.asarray(made).reshape(-1).tolist() == [2.0, 2.0]
    wide = low_activations.channel_scale(images, (3, 1), strides=1, padding="valid")
    assert np.allclose(wide, 2.0)


def test_products_with_pixels_are_sums_of_products_with_their_bits() -> None:
    rng = np.random.default_rng(0)
    pixels, signs = rng.integers(0, 256, (5, 12)), rng.choice([-1, 1], (12, 3))
    assert low_activations.bit_planes(pixels).shape == (8, 5, 12)
    found = low_activations.by_planes(pixels, lambda plane: plane @ signs)
    assert np.array_equal(found, pixels @ signs)


def network(data: Dataset) -> keras.Model:
    keras.utils.set_random_seed(0)

    def block(x: Any, layer: keras.layers.Layer) -> Any:
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(layer(x)))

    inputs = keras.Input(data.image_shape)
    x = block(layers.Rescaling(1 / 255)(inputs), layers.Conv2D(8, 3, 2, name="first"))
    x = block(layers.MaxPooling2D(2)(x), layers.Conv2D(16, 3, padding="same", name="middle"))
    x = block(layers.Flatten()(x), layers.Dense(32, name="wide"))
    return keras.Model(inputs, layers.Dense(10, activation="softmax", name="last")(x))


def build(data: Dataset, way: Activations, **more: Any) -> Simulation:
    made = simulation.build(net.of(network(data)), Form(activations=way, live_norms=True, **more))
    calibration.calibrate(made, data.train.images[:16])
    return made


@pytest.mark.parametrize(
    ("way", "thirds"), [("bnn", {-3, 3}), ("xnor", {-3, 3}), ("dorefa", {0, 1, 2, 3})]
)
def test_layers_in_the_middle_read_activations_of_few_bits(
    few_digits: Dataset, way: Activations, thirds: set[int]
) -> None:
    made = build(few_digits, way)
    few = low_activations.readers(made.network, ())
    assert [step.layer for step in few] == ["middle", "wide"]
    read = made.model.get_layer("middle").input[0]
    seen = keras.Model(made.model.input, read)(few_digits.train.images[:8].astype("float32"))
    found = np.unique(3 * np.asarray(seen))
    assert {*np.round(found).astype(int).tolist()} == thirds
    assert np.allclose(found, np.round(found), atol=1e-5)


def test_layers_can_be_exempt_from_few_bits(few_digits: Dataset) -> None:
    made = build(few_digits, "xnor", exempt=("wide",))
    assert [s.layer for s in low_activations.readers(made.network, ("wide",))] == ["middle"]
    read = made.model.get_layer("wide").input[0]
    seen = keras.Model(made.model.input, read)(few_digits.train.images[:8].astype("float32"))
    assert len(np.unique(seen)) > 2


def test_products_of_signs_are_multiplied_by_the_size_of_what_was_read(few_digits: Dataset) -> None:
    images = few_digits.train.images[:8].astype("float32")
    scores = [np.asarray(build(few_digits, way).model(images)) for way in ("bnn", "xnor")]
    assert not np.allclose(*scores)
    image = keras.ops.convert_to_tensor(np.float32([[0.5, -1.5]]))
    step = Step("FULLY_CONNECTED", [], [])
    values, factor = low_activations.instead(step, image, "xnor")
    assert np.asarray(values).tolist() == [[1, -1]]
    assert np.asarray(factor).tolist() == [[1.0]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "weights"), [("bnn", "binary_connect"), ("xnor", "binary"), ("dorefa", "dorefa_1")]
)
def test_networks_of_few_bits_learn_and_no_file_is_made_of_them(
    few_digits: Dataset, tmp_path: Path, way: Activations, weights: Weights
) -> None:
    model, images = network(few_digits), few_digits.train.images[:16]
    settings = Settings(epochs=12, learning_rate=0.01, batch_size=16)
    training.fit(model, few_digits, settings, 0, training.Session("float"))
    form = Form(weights, way, reach="all", live_norms=True)
    job = Job(few_digits, settings, 0, training.Session(way), images, tmp_path, form)
    made = native.trained(model, job)
    pictures, labels = few_digits.train.arrays()
    scores = made.model.predict(pictures.astype("float32"), verbose=0)
    assert np.mean(scores.argmax(-1) == labels) > 0.7
    with pytest.raises(ModelError, match=f"activations={way}.*Take binary"):
        int8_file.write_int8(made)
