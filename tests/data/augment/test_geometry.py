"""Augmentation that moves, turns, cuts and erases: by how much, and what comes in."""

import numpy as np
import pytest
from support.augmented import SIZE, augmented, centres
from support.augmented import dots as dots

from pipeline.data.augment.strength import Strength


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


def ramps(count: int = 300) -> np.ndarray:
    """Pictures whose channels are the place of every pixel, across and down, in 100..200."""
    down, across = np.indices((SIZE, SIZE)) / (SIZE - 1)
    return np.repeat(100 + 100 * np.stack([across, down], axis=-1)[None], count, 0).astype(
        "float32"
    )


def test_pad_and_crop_moves_by_whole_pixels(dots: np.ndarray) -> None:
    moved = centres(augmented(dots, Strength(pad_crop=3)))
    np.testing.assert_allclose(moved, np.round(moved), atol=1e-3)
    assert {*np.round(moved).ravel()} == {-3, -2, -1, 0, 1, 2, 3}


def test_a_cut_out_has_the_asked_area_and_ratio_and_lies_within_the_picture() -> None:
    changed = augmented(ramps(), Strength(crop=0.25))
    sides = (changed[:, 17, 17] - changed[:, 6, 6]) / 100 * (SIZE - 1) / 11  # across and down
    areas, ratios = sides.prod(axis=1), sides[:, 0] / sides[:, 1]
    assert 0.2 < areas.min() < 0.32
    assert 0.9 < areas.max() <= 1.001
    assert 0.74 < ratios.min() < 0.8
    assert 1.25 < ratios.max() < 1.35
    assert changed.min() >= 97  # half a pixel of the border may come from outside
    assert changed.max() <= 203


def test_a_cut_out_is_anywhere() -> None:
    middles = augmented(ramps(), Strength(crop=0.25))[:, SIZE // 2, SIZE // 2]
    assert middles.min() < 130
    assert middles.max() > 170
    np.testing.assert_allclose(middles.mean(axis=0), 150, atol=4)
