"""Pixels that a network was trained on, found by what it makes of black and white images."""

import logging
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.data.datasets import Dataset
from pipeline.pretrained import pixel_range
from pipeline.pretrained.adaptation import Pixels, adapt


def threshold(middle: float, slope: float, white: int = 1) -> keras.Model:
    """Scores of two classes: that of number `white` for images brighter than `middle`."""
    inputs = keras.Input((4, 4, 1))
    dense = layers.Dense(2)
    x = layers.Softmax()(dense(layers.GlobalAveragePooling2D()(inputs)))
    kernel, bias = np.zeros((1, 2)), np.zeros(2)
    kernel[0, white], bias[white] = slope, -slope * middle
    dense.set_weights([kernel, bias])
    return keras.Model(inputs, x)


def found(model: keras.Model, dataset: Dataset) -> Pixels:
    """The pixels that are recognized."""
    made: dict[int, Pixels] = {}

    def adapted(pixels: Pixels) -> Any:
        whole, _ = adapt(model, dataset.image_shape, 2, "keep", pixels=pixels)
        made[id(whole)] = pixels
        return whole

    return made[id(pixel_range.recognized(adapted, dataset, "network"))]


@pytest.mark.parametrize(
    ("middle", "slope", "pixels"),
    [
        (0.5, 20.0, "0..1"),  # the scales of the others make scores of exactly 0 and 1
        (127.5, 0.1, "0..255"),  # white is below the threshold on the scales of the others
        (-0.3, 20.0, "-1..1"),  # black is above the threshold on the scales of the others
    ],
)
def test_the_pixels_with_which_most_images_are_classified_right(
    middle: float, slope: float, pixels: Pixels, squares: Dataset
) -> None:
    assert found(threshold(middle, slope), squares) == pixels


def test_a_network_that_guesses_gets_plain_pixels_and_a_warning(
    squares: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "flopsmith"):
        assert found(threshold(0.5, 20.0, white=0), squares) == "0..255"
    assert "network does no better than guessing" in caplog.text
    assert "black, white" in caplog.text


def test_surprise_is_the_smoothed_cross_entropy() -> None:
    scores = np.array([[0.25, 0.75], [0.5, 0.5]])
    labels = np.array([1, 0])
    right = np.log([0.75, 0.5])
    every = np.log(scores).mean(axis=-1)
    expected = -np.mean(0.99 * right + 0.01 * every)
    assert pixel_range.surprise(scores, labels) == pytest.approx(expected)


def test_a_score_of_zero_counts_as_a_least_probability() -> None:
    assert pixel_range.surprise(np.array([[0.0, 1.0]]), np.array([0])) < 70
