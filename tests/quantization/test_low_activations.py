"""Activations of few bits: every formula on numbers that were worked out by hand."""

import keras
import numpy as np
import tensorflow as tf

from pipeline.quantization import low_activations


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


def test_weights_of_two_bits_are_odd_thirds() -> None:
    values = np.float32([-2.0, -0.3, 0.05, 0.4, 2.0])
    bent = np.tanh(values) / (2 * np.tanh(2.0)) + 0.5
    expected = 2 * np.round(3 * bent) / 3 - 1
    made = np.asarray(low_activations.weights(tf.constant(values), 2))
    assert np.allclose(made, expected)
    assert {*np.round(3 * made).astype(int)} <= {-3, -1, 1, 3}


def test_weights_of_one_bit_have_one_scale_for_the_layer() -> None:
    made = low_activations.weights(tf.constant([[0.5, -0.1], [0.2, -0.4]]), 1)
    assert np.allclose(made, [[0.3, -0.3], [0.3, -0.3]])


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


def test_a_network_of_signs_learns() -> None:
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(256, 8)).astype(np.float32)
    labels = (images[:, 0] * 2 + images[:, 1] > 0).astype(int)
    inputs = keras.Input((8,))
    x = keras.layers.BatchNormalization()(keras.layers.Dense(32, use_bias=False)(inputs))
    x = keras.layers.Lambda(low_activations.signs)(x)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))
    model.compile(
        keras.optimizers.Adam(0.02),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
    )
    history = model.fit(images, labels, epochs=15, batch_size=32, verbose=0).history
    assert history["accuracy"][-1] > 0.85
