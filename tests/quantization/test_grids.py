"""Grids of activations: the values of TensorFlow's own rounding, and gradients of their ends."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.quantization import grids
from pipeline.quantization.grids import Grid, Range

ENDS = [(-1.0, 1.0), (0.0, 6.0), (-0.3, 5.7), (-3.0, 0.0), (-0.011, 0.013), (-7.1, 0.4)]


def rounding(low: float, high: float) -> Range:
    layer = Range(None, "range")
    layer.build(None)
    layer.set(low, high)
    return layer


@pytest.mark.parametrize(("low", "high"), ENDS)
def test_a_grid_has_the_values_that_tensorflow_rounds_to(low: float, high: float) -> None:
    values = np.linspace(1.2 * low - 0.01, 1.2 * high + 0.01, 4001, dtype=np.float32)
    expected = tf.quantization.fake_quant_with_min_max_vars(values, low, high).numpy()
    grid = grids.between(low, high)
    received = grid.values(grid.numbers(values))
    step = np.float32((high - low) / 255)
    off = np.abs(expected - received)
    # which of two values is nearer to their middle is a matter of the last bit
    assert np.mean(off > 0.01 * step) < 0.002
    assert np.max(off) < 1.01 * step
    np.testing.assert_allclose(grid.ends, [expected.min(), expected.max()], atol=1e-5 * step)


def test_zero_is_a_value_of_every_grid() -> None:
    for low, high in ENDS:
        assert grids.between(low, high).numbers(np.zeros(1)) == grids.between(low, high).zero_point
        assert 0.0 in grids.between(low, high).values(np.arange(-128, 128))


def test_the_grid_of_pixels_has_256_whole_values() -> None:
    assert grids.between(0, 255) == Grid(1.0, -128)
    assert grids.between(-128, 127) == Grid(1.0, 0)


@pytest.mark.parametrize(("ends", "known"), [((2.0, 5.0), (0.0, 5.0)), ((-5.0, -2.0), (-5.0, 0.0))])
def test_a_range_is_widened_to_zero(ends: tuple[float, float], known: tuple[float, float]) -> None:
    assert grids.between(*ends).ends == pytest.approx(known)


def test_numbers_without_a_range_have_a_step_that_is_not_zero() -> None:
    grid = grids.of_constant(np.zeros(3))
    assert grid.scale > 0
    np.testing.assert_array_equal(grid.values(grid.numbers(np.zeros(3))), np.zeros(3))


def test_constants_are_within_half_a_step_of_their_grid() -> None:
    data = np.random.default_rng(0).normal(1.0, 0.2, 100)
    grid = grids.of_constant(data)
    assert grid.zero_point == -128  # all are positive
    assert np.max(np.abs(grid.values(grid.numbers(data)) - data)) <= 0.501 * grid.scale


# the layer


@pytest.mark.parametrize(("low", "high"), ENDS)
def test_the_layer_rounds_to_the_grid_that_it_names(low: float, high: float) -> None:
    layer = rounding(low, high)
    values = np.random.default_rng(0).uniform(2 * low, 2 * high, 500).astype(np.float32)
    made, scale = layer(values)
    every = layer.grid.values(np.arange(-128, 128))
    assert float(scale) == pytest.approx(layer.grid.scale, rel=1e-6)
    assert np.max(np.min(np.abs(np.asarray(made)[:, None] - every), axis=1)) < 1e-5 * float(scale)


def test_gradients_pass_within_the_ends_and_move_the_end_that_clipped() -> None:
    layer = rounding(-1.0, 1.0)
    values = tf.constant([-3.0, -0.5, 0.2, 0.7, 2.0, 4.0])
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = tf.reduce_sum(layer(values)[0])
    on_values, low, high = tape.gradient(total, [values, layer.low.value, layer.high.value])
    np.testing.assert_array_equal(on_values, [0, 1, 1, 1, 0, 0])
    assert (float(low), float(high)) == (1.0, 2.0)  # one value below, two above


@pytest.mark.parametrize(("value", "known"), [(2.5, 3.0), (3.5, 4.0), (-2.5, -3.0), (-0.5, -1.0)])
def test_averages_in_the_middle_are_rounded_away_from_zero(value: float, known: float) -> None:
    layer = rounding(-128.0, 127.0)  # the numbers themselves
    made, _ = layer(np.float32([value]), pooled=True)
    assert made.numpy().tolist() == [known]


def test_averages_are_rounded_away_from_the_number_zero_not_the_value() -> None:
    layer = rounding(0.0, 255.0)  # the number of the value 127.5 is -0.5
    made, _ = layer(np.float32([127.5, 128.5, 126.5]), pooled=True)
    assert made.numpy().tolist() == [127.0, 129.0, 126.0]


def test_prescribed_ends_are_not_trained() -> None:
    free, fixed = rounding(-1.0, 1.0), Range(Grid(1 / 256, -128), "scores")
    fixed.build(None)
    assert len(free.trainable_weights) == 2
    assert fixed.trainable_weights == []
    assert fixed.grid == Grid(1 / 256, -128)
    made, _ = fixed(np.float32([-1.0, 0.5, 2.0]))
    np.testing.assert_allclose(made, [0.0, 0.5, 255 / 256])


def test_training_keeps_zero_within_the_ends() -> None:
    layer = rounding(-0.01, 0.01)
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.build([layer.low, layer.high])
    optimizer.apply_gradients([(tf.constant(-1.0), layer.low), (tf.constant(1.0), layer.high)])
    assert float(layer.low) == 0.0
    assert float(layer.high) == pytest.approx(grids.NARROWEST)


def test_a_range_of_zeros_alone_is_a_grid_all_the_same() -> None:
    layer = rounding(0.0, 0.0)
    made, scale = layer(np.zeros(4, np.float32))
    assert np.asarray(made).tolist() == [0, 0, 0, 0]
    assert float(scale) > 0
    assert np.isfinite(layer.grid.scale)
