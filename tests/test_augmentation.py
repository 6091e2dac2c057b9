"""Augmentation: what it may change, by how much, and that the same seed repeats it."""

import itertools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pipeline import augmentation, data
from pipeline.augmentation import STRENGTHS, Strength
from pipeline.data import Split

SIZE = 24
every = pytest.mark.parametrize("name", list(STRENGTHS))


def key(number: int = 0) -> Any:
    return tf.constant([number, 0], tf.int64)


def augmented(images: np.ndarray, strength: Strength, flip: bool = False, seed: int = 0) -> Any:
    return augmentation.augment(tf.constant(images), strength, flip, key(seed)).numpy()


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


def test_strengths_grow() -> None:
    changes = [list(vars(strength).values()) for strength in STRENGTHS.values()]
    for weaker, stronger in itertools.pairwise(changes):
        assert all(a <= b for a, b in zip(weaker, stronger, strict=True))
        assert weaker != stronger


@every
def test_pictures_stay_pictures(noise: np.ndarray, name: Any) -> None:
    images = augmented(noise, STRENGTHS[name], flip=True)
    assert images.shape == noise.shape
    assert images.dtype == np.float32
    assert 0 <= images.min() <= images.max() <= 255


def test_no_augmentation_changes_nothing(noise: np.ndarray) -> None:
    np.testing.assert_array_equal(augmented(noise, STRENGTHS["none"]), noise)


@every
def test_the_seed_decides_what_happens(noise: np.ndarray, name: Any) -> None:
    one, same, other = (augmented(noise, STRENGTHS[name], True, seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@pytest.mark.parametrize("strength", [Strength(), Strength(rotate=1e-6)])
def test_about_half_of_the_pictures_are_mirrored(strength: Strength) -> None:
    images = np.random.default_rng(0).uniform(0, 255, (100, 6, 9, 1)).astype("float32")
    changed = augmented(images, strength, flip=True)
    same = np.isclose(changed, images, atol=0.1).all(axis=(1, 2, 3))
    mirrored = np.isclose(changed, images[:, :, ::-1], atol=0.1).all(axis=(1, 2, 3))
    assert (same ^ mirrored).all()
    assert 30 < mirrored.sum() < 70


def test_pictures_are_moved_at_most_by_the_shift(dots: np.ndarray) -> None:
    moved = centres(augmented(dots, Strength(shift=0.25)))
    assert 5.5 < np.abs(moved).max() <= 0.25 * SIZE + 1e-3
    assert np.abs(moved.mean(axis=0)).max() < 1


def test_pictures_are_turned_at_most_by_the_angle() -> None:
    images = np.zeros((200, SIZE, SIZE, 1), "float32")
    images[:, 11:13, 18:20] = 255  # 7 pixels right of the middle
    down, right = centres(augmented(images, Strength(rotate=30))).T
    np.testing.assert_allclose(np.hypot(down, right), 7, atol=0.2)
    angles = np.degrees(np.arctan2(down, right))
    assert 28 < np.abs(angles).max() < 30.5
    assert abs(angles.mean()) < 4


def test_pictures_are_zoomed_both_ways(dots: np.ndarray) -> None:
    areas = augmented(dots, Strength(zoom=0.5)).sum(axis=(1, 2, 3)) / dots[0].sum()
    assert 1 / 1.5**2 - 0.1 < areas.min() < 0.55
    assert 1.9 < areas.max() < 1.5**2 + 0.1


def test_shearing_moves_rows_against_each_other() -> None:
    images = np.zeros((200, SIZE, SIZE, 1), "float32")
    images[:, 4:6, 11:13] = images[:, 18:20, 11:13] = 255  # 7 pixels above and below the middle
    changed = augmented(images, Strength(shear=45))
    above = changed.copy()
    above[:, 12:] = 0
    down, right = centres(above).T
    np.testing.assert_allclose(down, -7, atol=0.2)
    assert 6 < np.abs(right).max() < 7.2
    np.testing.assert_allclose(centres(changed), 0, atol=0.2)


@pytest.mark.parametrize("paper", [0.0, 90.0, 255.0])
def test_what_comes_in_has_the_colour_of_the_border(paper: float) -> None:
    images = np.full((16, SIZE, SIZE, 2), paper, "float32")
    images[..., 1] = 255 - paper
    images[:, :, 9:15] = 40  # a stroke from edge to edge
    strength = Strength(rotate=20, shift=0.3, zoom=0.2, cutout=0.2)
    changed = augmented(images, strength)
    for channel, tone in enumerate((paper, 255 - paper)):
        low, high = sorted((40.0, tone))
        assert changed[..., channel].min() == pytest.approx(low, abs=0.01)
        assert changed[..., channel].max() == pytest.approx(high, abs=0.01)


def test_cutout_erases_a_square() -> None:
    images = np.full((200, SIZE, SIZE, 1), 200, "float32")
    images[:, [0, -1]] = images[:, :, [0, -1]] = 0
    erased = ((augmented(images, Strength(cutout=0.25)) == 0) & (images > 0)).sum(axis=(1, 2, 3))
    assert erased.max() == (SIZE // 4) ** 2
    assert 15 < erased.mean() < 36  # some squares overlap the edge


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


# streams


def split(count: int) -> Split:
    """The same picture over and over; labels tell the places apart."""
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 1), dtype=np.uint8)
    images = np.repeat(image, count, axis=0)
    return Split(images, np.arange(count, dtype=np.int32), np.arange(count))


def epochs(count: int, seed: int = 3, first: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pictures and labels of some epochs of three steps."""
    batches = data.stream(split(12), 4, seed, first)
    stream = augmentation.stream(batches, "strong", True, seed, first)
    found = [list(stream.as_numpy_iterator()) for _ in range(count)]
    return [
        (np.stack([images for images, _ in steps]), np.stack([labels for _, labels in steps]))
        for steps in found
    ]


def test_an_epoch_is_the_same_whether_or_not_others_went_before() -> None:
    straight, later = epochs(4), epochs(2, first=2)
    for (images, labels), (again, same) in zip(straight[2:], later, strict=True):
        np.testing.assert_array_equal(labels, same)
        np.testing.assert_array_equal(images, again)


def test_every_step_of_every_epoch_is_augmented_anew() -> None:
    images = np.concatenate([images for images, _ in epochs(3)]).reshape(36, -1)
    assert len(np.unique(images, axis=0)) == 36


def test_another_seed_augments_otherwise() -> None:
    (one, _), (other, _) = epochs(1)[0], epochs(1, seed=4)[0]
    assert (one != other).any()


def test_an_augmented_stream_looks_to_keras_as_it_did() -> None:
    batches = data.stream(split(12), 4, 0)
    stream = augmentation.stream(batches, "light", False, 0)
    assert stream.element_spec == batches.element_spec
    assert int(stream.cardinality()) == 3
