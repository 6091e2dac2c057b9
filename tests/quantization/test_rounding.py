"""Weights of few values: the formula of each method, on numbers that were worked out by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.quantization import rounding
from pipeline.quantization.rounding import METHODS, State

WEIGHTS = np.float32([[0.9, -0.2], [-0.5, 0.1], [0.1, 0.6], [0.3, -0.7]])  # two channels
COLUMNS = (0,)  # the axis along which a channel shares its step


def state(form: str, weights: np.ndarray = WEIGHTS) -> State:
    starts = METHODS[form].start(weights, COLUMNS)  # type: ignore[index]
    return {
        name: keras.Variable(value, trainable=learns) for name, (value, learns) in starts.items()
    }


def values(form: str, weights: np.ndarray = WEIGHTS) -> np.ndarray:
    numbers, steps = METHODS[form].round(weights, COLUMNS, state(form, weights))  # type: ignore[index]
    return np.asarray(numbers * steps)


def gradient(form: str, known: State, weights: np.ndarray = WEIGHTS) -> tuple[np.ndarray, list]:
    """Of the sum of the rounded weights times 1, 2, 3 ...; by weight, and by variable."""
    variable = tf.Variable(weights)
    factors = np.arange(1, 1 + weights.size, dtype=np.float32).reshape(weights.shape)
    with tf.GradientTape() as tape:
        made = METHODS[form].learning(tf.identity(variable), COLUMNS, known)  # type: ignore[index]
        total = tf.reduce_sum(made * factors)
    learns = [v.value for name, v in known.items() if name != "seed" and v.trainable]
    found = tape.gradient(total, [variable, *learns])
    return np.asarray(found[0]), [float(one) for one in found[1:]]


def test_even_values_reach_to_the_largest_weight_of_a_channel() -> None:
    numbers, steps = METHODS["int4"].round(WEIGHTS, COLUMNS, {})
    assert np.allclose(steps, [[0.9 / 7, 0.7 / 7]])
    assert np.asarray(numbers).tolist() == [[7, -2], [-4, 1], [1, 6], [2, -7]]


def test_ternary_weights_have_the_mean_size_of_those_beyond_the_threshold() -> None:
    # mean sizes 0.45 and 0.4, thresholds 0.315 and 0.28: 0.9, -0.5 stay, and 0.6, -0.7
    assert np.allclose(values("ternary"), [[0.7, 0], [-0.7, 0], [0, 0.65], [0, -0.65]])


def test_no_other_scale_is_closer_to_the_weights_than_that_of_ternary_ones() -> None:
    made = values("ternary")
    best = np.sum((WEIGHTS - made) ** 2)
    for factor in (0.9, 0.97, 1.03, 1.1):
        assert np.sum((WEIGHTS - factor * made) ** 2) > best


def test_binary_weights_have_the_mean_size_of_all() -> None:
    assert np.allclose(values("binary"), [[0.45, -0.4], [-0.45, 0.4], [0.45, 0.4], [0.45, -0.4]])
    assert values("binary", np.float32([[0.0, 1.0]]))[0, 0] >= 0  # the sign of zero is 1


@pytest.mark.parametrize("form", ["int4", "ternary", "binary", "binary_connect"])
def test_gradients_pass_to_the_weights_unchanged(form: str) -> None:
    found, _ = gradient(form, state(form))
    assert found.reshape(-1).tolist() == [1, 2, 3, 4, 5, 6, 7, 8]


def test_trained_ternary_weights_have_two_scales_of_the_layer() -> None:
    known = state("ternary_trained")
    # the threshold is 0.05 x 0.9 = 0.045, so no weight is zero
    assert float(known["positive"]) == pytest.approx(np.mean([0.9, 0.1, 0.1, 0.6, 0.3]))
    assert float(known["negative"]) == pytest.approx(np.mean([0.2, 0.5, 0.7]))
    known["positive"].assign(0.8)
    known["negative"].assign(0.4)
    weights = np.float32([[1.0, -1.0], [0.04, 0.2], [-0.04, -0.2], [0.5, 0.06]])
    numbers, steps = METHODS["ternary_trained"].round(weights, COLUMNS, known)
    assert np.asarray(numbers).tolist() == [[127, -64], [0, 127], [0, -64], [127, 127]]
    assert np.allclose(steps, 0.8 / 127)


def test_gradients_of_trained_scales_are_sums_and_those_of_weights_are_scaled() -> None:
    known = state("ternary_trained")
    known["positive"].assign(0.8)
    known["negative"].assign(0.4)
    weights = np.float32([[1.0, -1.0], [0.04, 0.2], [-0.04, -0.2], [0.5, 0.06]])
    found, (positive, negative) = gradient("ternary_trained", known, weights)
    # equation 7: sums over the weights beyond the threshold 0.05; equation 8: times p, n or 1
    assert (positive, negative) == (1 + 4 + 7 + 8, -(2 + 6))
    assert np.allclose(found, [[0.8, 0.8], [3, 3.2], [5, 2.4], [5.6, 6.4]])


def test_connected_weights_are_signs_of_weights_that_stay_within_one() -> None:
    known = state("binary_connect")
    assert np.allclose(known["scale"], [[0.45, 0.4]])
    made = METHODS["binary_connect"]
    moved = np.asarray(made.bound(np.float32([[2.0, -2.0], [0.1, 0.1]]), known))
    assert np.allclose(moved, [[0.45, -0.4], [0.1, 0.1]])
    assert np.allclose(values("binary_connect"), np.sign(WEIGHTS) * [0.45, 0.4])


def test_signs_are_drawn_with_the_chance_that_a_weight_has() -> None:
    known = {"scale": keras.Variable(np.float32([[0.5]])), "seed": keras.random.SeedGenerator(3)}
    weights = np.repeat(np.float32([[-1.0], [-0.25], [0.0], [0.25], [0.5]]), 1000, axis=1)
    drawn = np.asarray(METHODS["binary_stochastic"].learning(weights, (), known))
    assert np.allclose(np.abs(drawn), 0.5)
    # P(+1) = clip((w / 0.5 + 1) / 2, 0, 1)
    assert np.allclose(np.mean(drawn > 0, axis=1), [0, 0.25, 0.5, 0.75, 1], atol=0.05)
    again = np.asarray(METHODS["binary_stochastic"].learning(weights, (), known))
    assert np.any(again != drawn)
    numbers, _ = METHODS["binary_stochastic"].round(weights, (), known)
    assert {*np.unique(numbers)} == {-1.0, 1.0}  # the file has the signs


def test_every_method_keeps_a_kernel_of_zeros_finite() -> None:
    for form in METHODS:
        assert np.all(np.isfinite(values(form, np.zeros((4, 2), np.float32))))


def test_what_is_passed_has_the_value_of_one_and_the_gradient_of_the_other() -> None:
    given = tf.Variable([1.5])
    with tf.GradientTape() as tape:
        made = rounding.passing(given * 2, tf.round(given))
    assert float(made[0]) == 2.0
    assert float(tape.gradient(made, given)[0]) == 2.0


def test_dorefa_weights_of_two_bits_are_odd_thirds() -> None:
    weights = np.float32([-2.0, -0.3, 0.05, 0.4, 2.0])
    bent = np.tanh(weights) / (2 * np.tanh(2.0)) + 0.5
    numbers, steps = METHODS["dorefa_2"].round(weights, (), {})
    assert np.allclose(numbers * steps, 2 * np.round(3 * bent) / 3 - 1)
    assert {*np.asarray(numbers).tolist()} <= {-3, -1, 1, 3}
    learning = METHODS["dorefa_2"].learning(weights, (), {})
    assert np.allclose(learning, numbers * steps, atol=1e-6)


def test_dorefa_weights_of_two_bits_have_the_gradient_of_the_bend() -> None:
    weights = np.float32([[-2.0, -0.3], [0.4, 2.0]])
    found, _ = gradient("dorefa_2", {}, weights)
    inner = np.array([[False, True], [True, False]])  # the largest moves the scale as well
    slope = (1 - np.tanh(weights) ** 2) / np.tanh(2.0)
    assert np.allclose(found[inner], (slope * [[1, 2], [3, 4]])[inner], rtol=1e-4)


def test_dorefa_weights_of_one_bit_have_one_scale_for_the_layer() -> None:
    weights = np.float32([[0.5, -0.1], [0.2, -0.4]])
    assert np.allclose(values("dorefa_1", weights), [[0.3, -0.3], [0.3, -0.3]])
