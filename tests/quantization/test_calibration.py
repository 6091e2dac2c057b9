"""Ranges are measured on images, averaged over batches of ten."""

import keras
import numpy as np
import pytest
from keras import layers
from support.simulated import noise

from pipeline.quantization import calibration, network, simulation
from pipeline.quantization.job import Form


def test_ranges_are_the_mean_over_batches_of_the_ends() -> None:
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(3, 3, name="one")(layers.Rescaling(1 / 128, -1.0)(inputs))
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    images = noise((6, 6, 3), 20)
    made = simulation.build(network.of(model), Form())
    calibration.calibrate(made, images)
    inner = np.asarray(keras.Model(inputs, x)(images))
    step = made.network.steps[0]
    layer = made.groups[id(step.makes[0])].range
    expected = [[half.min(), half.max()] for half in (inner[:10], inner[10:])]
    found = [float(layer.low), float(layer.high)]
    assert found == pytest.approx(np.mean(expected, axis=0).tolist(), rel=1e-4)
