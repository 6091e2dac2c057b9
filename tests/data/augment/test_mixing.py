"""Mixtures of pictures: labels are mixed in the shares of the pixels."""

import numpy as np
import pytest
import tensorflow as tf
from support.augmented import key

from pipeline.data.augment import mixing
from pipeline.data.augment.strength import Strength


def mixed(changes: Strength, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """White pictures of class 1 between black ones of class 0; and the shares of class 1."""
    labels = np.arange(count) % 2
    images = np.broadcast_to(255.0 * labels[:, None, None, None], (count, 8, 8, 1))
    images, soft = mixing.mixed(
        tf.constant(images, tf.float32), tf.constant(labels), changes, key(), 2
    )
    np.testing.assert_allclose(tf.reduce_sum(soft, axis=1), 1, atol=1e-6)
    return images.numpy(), soft.numpy()[:, 1]


@pytest.mark.parametrize("changes", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 1, "cutmix": 1}])
def test_labels_are_mixed_in_the_shares_of_the_pixels(changes: dict[str, float]) -> None:
    images, shares = mixed(Strength(**changes))
    np.testing.assert_allclose(images.mean(axis=(1, 2, 3)) / 255, shares, atol=1e-5)
    assert 0.4 < shares.mean() < 0.6
    assert len(np.unique(shares)) > 20


@pytest.mark.parametrize(("alpha", "variance"), [(0.2, 0.25 / 1.4), (1.0, 0.25 / 3)])
def test_shares_of_mixup_are_beta_distributed(alpha: float, variance: float) -> None:
    _, shares = mixed(Strength(mixup=alpha), 4000)
    assert shares.mean() == pytest.approx(0.5, abs=0.02)
    assert shares.var() == pytest.approx(variance, rel=0.1)  # 1 / (4 (2 alpha + 1))


def test_cutmix_puts_a_rectangle_of_another_picture_in() -> None:
    images, shares = mixed(Strength(cutmix=1.0))
    assert {*np.unique(images)} == {0.0, 255.0}
    for image, share in zip(images[1::2, ..., 0], shares[1::2], strict=True):
        rows, columns = ((image == 0).any(axis=axis).sum() for axis in (1, 0))
        assert rows * columns == round(64 * (1 - share))


def test_of_both_mixtures_each_picture_has_one() -> None:
    images, _ = mixed(Strength(mixup=1.0, cutmix=1.0))
    blended = ((images > 0) & (images < 255)).any(axis=(1, 2, 3))
    assert 0.35 < blended.mean() < 0.65
