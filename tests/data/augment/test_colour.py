"""Augmentation of colours: by how much, and grey stays grey."""

import numpy as np
import tensorflow as tf
from support.augmented import augmented

from pipeline.data.augment import colour
from pipeline.data.augment.strength import Strength


def test_brightness_is_a_factor() -> None:
    images = np.full((200, 4, 4, 1), 100, "float32")
    changed = augmented(images, Strength(brightness=0.2))
    assert (changed == changed[:, :1, :1]).all()
    assert 80 <= changed.min() < 85
    assert 115 < changed.max() <= 120.001


def test_contrast_is_a_factor_of_the_distance_from_the_mean() -> None:
    images = np.tile(np.float32([60, 140]), (200, 2, 2, 1)).reshape(200, 2, 4, 1)
    changed = augmented(images, Strength(contrast=0.5))
    np.testing.assert_allclose(changed.mean(axis=(1, 2, 3)), 100, rtol=1e-5)
    spread = changed.max(axis=(1, 2, 3)) - changed.min(axis=(1, 2, 3))
    assert 40 <= spread.min() < 48
    assert 112 < spread.max() <= 120.001


def test_saturation_and_hue_change_while_brightness_stays() -> None:
    images = np.tile(np.float32([200, 100, 100]), (300, 2, 2, 1))
    changed = augmented(images, Strength(colour=0.2))
    hue, saturation, value = tf.unstack(tf.image.rgb_to_hsv(changed[:, 0, 0] / 255), axis=-1)
    np.testing.assert_allclose(value, 200 / 255, atol=1e-4)
    assert 0.4 <= saturation.numpy().min() < 0.42
    assert 0.58 < saturation.numpy().max() <= 0.6001
    turned = (hue.numpy() + 0.5) % 1 - 0.5  # red has the hue 0
    assert -0.201 <= turned.min() < -0.18
    assert 0.18 < turned.max() <= 0.201


def test_grey_stays_grey_when_colours_change() -> None:
    images = np.tile(np.float32([0, 90, 255]).reshape(1, 3, 1, 1), (8, 1, 2, 3))
    np.testing.assert_allclose(augmented(images, Strength(colour=0.5)), images, atol=0.01)


def test_colours_shift_along_their_main_axes() -> None:
    rng = np.random.default_rng(0)
    line = rng.normal(0, 40, (20, 8, 8, 1)) * [1.0, 0.5, 0.0] + 120  # red and half as much green
    sample = np.clip(line, 0, 255).astype(np.uint8)
    images = np.full((400, 3, 3, 3), 120, "float32")
    shift = augmented(images, Strength(pca=0.5), sample=sample) - images
    assert (shift == shift[:, :1, :1]).all()
    red, green, blue = shift[:, 0, 0].T
    np.testing.assert_allclose(green, red / 2, atol=0.2)
    np.testing.assert_allclose(blue, 0, atol=0.1)
    # variance along the axis, of pixels in 0..1, times the draw, in 0..255
    variance = np.cov(sample.reshape(-1, 3).astype(float).T / 255).trace()
    length = np.hypot(red, green)
    np.testing.assert_allclose(np.sqrt((length**2).mean()), 0.5 * variance * 255, rtol=0.1)


def test_the_palette_is_that_of_the_covariance() -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 5, 5, 3), dtype=np.uint8)
    axes = colour.palette(images) / 255
    covariance = np.cov(images.reshape(-1, 3).T / 255)
    np.testing.assert_allclose((axes @ axes.T), covariance @ covariance, rtol=1e-4)
