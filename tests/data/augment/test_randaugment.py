"""RandAugment: which operations there are, and how strong they are."""

import numpy as np
import pytest
import tensorflow as tf
from support.augmented import augmented
from support.augmented import noise as noise

from pipeline.data.augment.randaugment import OPERATIONS, Policy
from pipeline.data.augment.strength import RandAugment, Strength


@pytest.mark.parametrize("name", OPERATIONS[6:])
def test_operations_of_keras_keep_pictures_pictures(noise: np.ndarray, name: str) -> None:
    policy = Policy(RandAugment(magnitude=0.8), 3)
    signs = tf.where(tf.range(len(noise)) % 2 == 0, 1.0, -1.0)
    images = policy.apply(name, tf.constant(noise), signs).numpy()
    assert images.shape == noise.shape
    assert 0 <= images.min() <= images.max() <= 255.01
    # noise already has every tone: stretching it changes little
    assert np.abs(images - noise).mean() > (0.01 if name == "autocontrast" else 1)
    assert policy.apply(name, tf.constant(noise[:0]), signs[:0]).shape == (0, *noise.shape[1:])


@pytest.mark.parametrize(
    ("name", "pixel", "sign", "expected"),
    [
        ("brightness", 100, 1, 145),  # 1 + 0.9 x 0.5
        ("brightness", 100, -1, 55),
        ("posterize", 103, 1, 100),  # two bits less
        ("solarize", 200, 1, 55),  # above 256 x 0.5
        ("solarize", 100, 1, 100),
    ],
)
def test_an_operation_has_the_size_of_the_magnitude(
    name: str, pixel: float, sign: float, expected: float
) -> None:
    images = tf.fill([1, 4, 4, 1], float(pixel))
    changed = Policy(RandAugment(magnitude=0.5), 1).apply(name, images, tf.constant([float(sign)]))
    np.testing.assert_allclose(changed, expected, atol=1e-3)


def test_pictures_are_equalized_one_by_one() -> None:
    ramp = np.arange(16, dtype="float32").reshape(4, 4, 1)
    images = tf.constant(np.stack([ramp, 200 + ramp]))
    changed = Policy(RandAugment(), 1).apply("equalize", images, tf.ones(2)).numpy()
    np.testing.assert_allclose(changed.min(axis=(1, 2, 3)), 0)
    np.testing.assert_allclose(changed.max(axis=(1, 2, 3)), 255)


def test_every_picture_of_a_batch_undergoes_operations_of_its_own() -> None:
    image = np.random.default_rng(0).uniform(50, 200, (1, 12, 12, 3)).astype("float32")
    images = np.repeat(image, 200, axis=0)
    changed = augmented(images, Strength(randaugment=RandAugment(operations=1, magnitude=0.5)))
    kinds = len(np.unique(np.round(changed, 1).reshape(200, -1), axis=0))
    # 9 in two directions, and 5 in one, of which one does nothing
    assert kinds == 23
    assert 4 < (changed == images).all(axis=(1, 2, 3)).sum() < 30


def test_grey_pictures_go_without_operations_on_colour() -> None:
    assert Policy(RandAugment(), 1).names == OPERATIONS[:-1]
