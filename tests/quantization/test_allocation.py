"""Bits for each kernel: fewer where the scores change least."""

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.quantization import allocation, calibration, network, simulation
from pipeline.quantization.allocation import Choice
from pipeline.quantization.job import Form
from pipeline.quantization.simulation import Simulation


def choice(weights: int, int4: float, ternary: float) -> Choice:
    return Choice(weights, {"int8": 0.0, "int4": int4, "ternary": ternary})


@pytest.mark.parametrize("bits", [8.0, 6.0, 4.0, 3.0, 2.0])
def test_no_more_bits_are_given_than_asked_for(bits: float) -> None:
    choices = {"a": choice(100, 1e-4, 1e-1), "b": choice(900, 1e-3, 1e-2), "c": choice(10, 1, 9)}
    found = allocation.allocate(choices, bits)
    sizes = {"int8": 8, "int4": 4, "ternary": 2}
    used = sum(sizes[level] * choices[name].weights for name, level in found.items())
    assert used <= bits * 1010
    assert bits < 8 or set(found.values()) == {"int8"}


def test_the_kernel_that_costs_most_for_each_bit_is_the_last_to_lose_some() -> None:
    choices = {"cheap": choice(100, 1e-6, 1e-5), "dear": choice(100, 1e-3, 1e-2)}
    assert allocation.allocate(choices, 5.0) == {"cheap": "ternary", "dear": "int8"}


def test_a_kernel_without_2_bits_ends_at_4() -> None:
    choices = {"wide": Choice(100, {"int8": 0.0, "int4": 1.0})}
    assert allocation.allocate(choices, 2.0) == {"wide": "int4"}


@pytest.fixture(scope="module")
def made() -> Simulation:
    """A network whose dense layer `loud` decides the scores, and `quiet` hardly changes them."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(8, 3, strides=2, activation="relu", name="stem")(
        layers.Rescaling(1 / 255)(inputs)
    )
    x = layers.Flatten()(x)
    loud = layers.Dense(4, name="loud")(x)
    quiet = layers.Dense(4, name="quiet")(x)
    outputs = layers.Softmax()(8 * loud + 0.1 * quiet)
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1))
    net = network.of(keras.Model(inputs, outputs))
    found = simulation.build(net, Form(bits=4.0))
    calibration.calibrate(found, images)
    return found


def test_a_scan_finds_which_kernel_the_scores_depend_on(made: Simulation) -> None:
    images = np.random.default_rng(1).integers(0, 256, (20, 8, 8, 1))
    found = allocation.scan(made, images)
    assert set(found) == {"loud", "quiet"}  # the stem is no convolution of one pixel
    assert found["loud"].weights == found["quiet"].weights == 3 * 3 * 8 * 4
    assert found["loud"].costs["int4"] > 3 * found["quiet"].costs["int4"]
    assert found["loud"].costs["ternary"] > found["loud"].costs["int4"] > 0
    assert {kernel.form for kernel in made.kernels.values()} == {"int8"}  # put back


def test_the_kernels_get_what_was_allocated(
    made: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    images = np.random.default_rng(1).integers(0, 256, (20, 8, 8, 1))
    caplog.set_level("INFO", logger="flopsmith")
    allocation.apply(made, images, 5.0)
    forms = {kernel.name: kernel.form for kernel in made.kernels.values()}
    assert forms["stem"] == "int8"
    assert forms["quiet"] == "ternary"
    assert "5.00 bits a weight" in caplog.text
