"""Pictures to augment, and one call that augments them."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pipeline.data.augment.augmentation import Augmenter
from pipeline.data.augment.strength import Strength, strength

SIZE = 24


def key(number: int = 0) -> Any:
    return tf.constant([number, 0], tf.int64)


def augmented(
    images: np.ndarray, changes: Strength, flip: bool = False, seed: int = 0, sample: Any = None
) -> Any:
    change = Augmenter(strength(changes, flip), images.shape[-1], sample)
    return change(tf.constant(images), key(seed)).numpy()


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    """Pictures that are not square."""
    return np.random.default_rng(0).uniform(0, 255, (32, SIZE, 18, 3)).astype("float32")


@pytest.fixture(scope="module")
def dots() -> np.ndarray:
    """A white square of 4 x 4 in the middle of black."""
    images = np.zeros((200, SIZE, SIZE, 1), "float32")
    images[:, 10:14, 10:14] = 255
    return images


def centres(images: np.ndarray) -> np.ndarray:
    """Mean place of what is bright, relative to the middle: [B, 2], pixels down and right."""
    grid = np.indices(images.shape[1:3]) - (SIZE - 1) / 2
    weights = images[..., 0] / images.sum(axis=(1, 2, 3))[:, None, None]
    return np.einsum("bhw,dhw->bd", weights, grid)
