"""Augmentation: what it may change, by how much, and that the same seed repeats it."""

import itertools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from pipeline.data.augment import augmentation, colour, mixing
from pipeline.data.augment.augmentation import Augmenter
from pipeline.data.augment.randaugment import OPERATIONS, Policy
from pipeline.data.augment.strength import STRENGTHS, RandAugment, Strength, strength
from pipeline.data.datasets import Split
from pipeline.data.stream import stream
from pipeline.errors import DataError

SIZE = 24
MORE = {  # what no preset has, on images of three colours
    "crop": Strength(crop=0.08, pad_crop=4),
    "colours": Strength(colour=0.3, pca=0.1),
    "randaugment": Strength(randaugment=RandAugment(operations=3, magnitude=0.9)),
}
ALL = Strength(
    **{**STRENGTHS["strong"].model_dump(exclude={"flip", "randaugment"}), "crop": 0.3},
    flip=True,
    randaugment=RandAugment(),
)
every = pytest.mark.parametrize("changes", [*STRENGTHS.values(), *MORE.values()])


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


def test_strengths_grow() -> None:
    changes = [
        [size or 0 for size in strength.model_dump().values()] for strength in STRENGTHS.values()
    ]
    for weaker, stronger in itertools.pairwise(changes):
        assert all(a <= b for a, b in zip(weaker, stronger, strict=True))
        assert weaker != stronger


@every
def test_pictures_stay_pictures(noise: np.ndarray, changes: Strength) -> None:
    images = augmented(noise, changes, flip=True, sample=noise)
    assert images.shape == noise.shape
    assert images.dtype == np.float32
    assert 0 <= images.min() <= images.max() <= 255


def test_no_augmentation_changes_nothing(noise: np.ndarray) -> None:
    np.testing.assert_array_equal(augmented(noise, STRENGTHS["none"]), noise)


@every
def test_the_seed_decides_what_happens(noise: np.ndarray, changes: Strength) -> None:
    one, same, other = (augmented(noise, changes, True, seed, noise) for seed in (4, 4, 5))
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


# cut-outs and whole shifts


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


def test_moves_are_composed_into_one_transform(noise: np.ndarray) -> None:
    both = augmented(noise, Strength(crop=0.3, rotate=20), seed=2)
    assert not np.allclose(both, augmented(noise, Strength(crop=0.3), seed=2))
    whole = augmented(noise, Strength(crop=1.0, rotate=20), seed=2)
    # of an area of 1, only the ratio of the sides is left to change
    assert np.abs(whole - augmented(noise, Strength(rotate=20), seed=2)).mean() < 40


# colours


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


@pytest.mark.parametrize("kind", ["colour", "pca"])
def test_grey_images_have_no_colours_to_change(kind: str) -> None:
    with pytest.raises(DataError, match=f"{kind} needs.*channels=1"):
        augmentation.stream(stream(split(12), 4, 0), Strength(**{kind: 0.1}), 0)


# mixing


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


# RandAugment


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


@pytest.mark.parametrize(
    "mapping",
    [{"blur": 1}, {"crop": 0}, {"randaugment": {"operations": 0}}, {"mixup": -1}, {"shift": 1}],
)
def test_a_mapping_with_an_error_is_refused(mapping: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Strength.model_validate(mapping)


# streams


def split(count: int) -> Split:
    """The same picture over and over; labels tell the places apart."""
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 1), dtype=np.uint8)
    images = np.repeat(image, count, axis=0)
    return Split(images, np.arange(count, dtype=np.int32), np.arange(count))


def epochs(count: int, seed: int = 3, first: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pictures and labels of some epochs of three steps."""
    batches = stream(split(12), 4, seed, first)
    augmented = augmentation.stream(batches, ALL, seed, first, num_classes=12)
    found = [list(augmented.as_numpy_iterator()) for _ in range(count)]
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
    batches = stream(split(12), 4, 0)
    augmented = augmentation.stream(batches, STRENGTHS["light"], 0)
    assert augmented.element_spec == batches.element_spec
    assert int(augmented.cardinality()) == 3


def test_a_mixed_stream_has_soft_labels_and_repeats_itself() -> None:
    changes = Strength(mixup=0.4, cutmix=1.0)

    def run(first: int) -> list[Any]:
        batches = stream(split(12), 4, 0, first)
        augmented = augmentation.stream(batches, changes, 0, first, num_classes=12)
        return [list(augmented.as_numpy_iterator()) for _ in range(2)]

    (_, straight), (later, _) = run(0), run(1)
    for (images, labels), (again, same) in zip(straight, later, strict=True):
        assert labels.shape == (4, 12)
        np.testing.assert_array_equal(labels, same)
        np.testing.assert_array_equal(images, again)
