"""First layers that scale all pixels alike are left out, and what they did is told."""

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.quantization import scaling

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 1)).astype(np.float32)
INSIDE = [
    (layers.Rescaling(1 / 255), 1),
    (lambda x: layers.Rescaling(2.0, -1.0)(layers.Rescaling(1 / 255)(x)), 2),
    (lambda x: x / 127.5 - 1.0, 2),
    (lambda x: (x - 100.0) * 0.5, 2),
    (lambda x: x, 0),
    (lambda x: layers.Rescaling(0.1, 3.0)(x), 0),  # zero is no pixel
    (lambda x: layers.Rescaling(-1.0, 255.0)(x), 0),  # the other way round
    (lambda x: layers.Rescaling([0.5])(x), 0),  # a factor per channel
]


@pytest.mark.parametrize(("body", "count"), INSIDE)
def test_the_rest_of_scaled_pixels_is_the_whole_of_pixels(body: object, count: int) -> None:
    inputs = keras.Input((6, 6, 1))
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(body(inputs))))  # type: ignore[operator]
    found = scaling.left_out(model)
    assert len(found.model.operations) == len(model.operations) - count
    expected = np.asarray(model(PIXELS, training=False))
    received = found.model(PIXELS * found.scale + found.offset, training=False)
    np.testing.assert_allclose(received, expected, atol=1e-4)


def test_a_scaled_image_that_is_read_beside_the_image_stays() -> None:
    inputs = keras.Input((6, 6, 1))
    x = layers.Add()([inputs, layers.Rescaling(0.5)(inputs)])
    model = keras.Model(inputs, layers.Flatten()(x))
    assert scaling.left_out(model).model is model
