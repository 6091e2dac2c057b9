"""Signal to noise of the operators of an int8 file."""

import json

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.quantization import calibration, fidelity, network, simulation
from pipeline.quantization.job import Form
from pipeline.quantization.simulation import Simulation

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 1))


@pytest.fixture(scope="module")
def made() -> Simulation:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(layers.Rescaling(1 / 255)(inputs))
    x = layers.MaxPooling2D(2, name="pool")(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.Flatten()(x)))
    found = simulation.build(network.of(model), Form())
    calibration.calibrate(found, IMAGES)
    return found


def test_the_ratio_is_that_of_the_powers_in_decibels(made: Simulation) -> None:
    ratios = fidelity.signal_to_noise(made, IMAGES)
    assert len(ratios) == len(made.network.steps)
    conv = next(n for n, step in enumerate(made.network.steps) if step.kind == "CONV_2D")
    values = dict(calibration.floating(made.network, (IMAGES / 255).astype(np.float32)))
    whole = np.asarray(values[made.network.steps[conv].makes[0]])
    tensor = made.tensors[id(made.network.steps[conv].makes[0])]
    rounded = np.asarray(keras.Model(made.model.inputs, tensor)(IMAGES.astype(np.float32)))
    expected = 10 * np.log10(np.sum(whole**2) / np.sum((whole - rounded) ** 2))
    assert ratios[conv] == pytest.approx(expected, abs=0.01)
    assert 30 < ratios[conv] < 60  # 8 bits


def test_fewer_bits_are_noisier(made: Simulation) -> None:
    before = fidelity.signal_to_noise(made, IMAGES)
    for kernel in made.kernels.values():
        kernel.form = "int4"
    try:
        after = fidelity.signal_to_noise(made, IMAGES)
    finally:
        for kernel in made.kernels.values():
            kernel.form = "int8"
    assert max(after) < min(before)


def test_the_overlay_names_operators_by_their_place_in_the_file() -> None:
    found = json.loads(fidelity.overlay([40.04, 12.5]))
    assert found["results"] == {"1": {"value": 40.0}, "2": {"value": 12.5}}
    assert [stop["stop"] for stop in found["gradient"]] == [0.0, 0.5, 1.0]
