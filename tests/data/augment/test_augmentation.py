"""Augmentation as a whole: pictures stay pictures, and a seed repeats what happens."""

from typing import Any

import numpy as np
import pytest
from support.augmented import augmented
from support.augmented import noise as noise

from pipeline.data.augment import augmentation
from pipeline.data.augment.strength import STRENGTHS, RandAugment, Strength
from pipeline.data.datasets import Split
from pipeline.data.stream import stream
from pipeline.errors import DataError

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


def test_moves_are_composed_into_one_transform(noise: np.ndarray) -> None:
    both = augmented(noise, Strength(crop=0.3, rotate=20), seed=2)
    assert not np.allclose(both, augmented(noise, Strength(crop=0.3), seed=2))
    whole = augmented(noise, Strength(crop=1.0, rotate=20), seed=2)
    # of an area of 1, only the ratio of the sides is left to change
    assert np.abs(whole - augmented(noise, Strength(rotate=20), seed=2)).mean() < 40


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


@pytest.mark.slow
def test_an_epoch_is_the_same_whether_or_not_others_went_before() -> None:
    straight, later = epochs(4), epochs(2, first=2)
    for (images, labels), (again, same) in zip(straight[2:], later, strict=True):
        np.testing.assert_array_equal(labels, same)
        np.testing.assert_array_equal(images, again)


def test_every_step_of_every_epoch_is_augmented_anew() -> None:
    images = np.concatenate([images for images, _ in epochs(3)]).reshape(36, -1)
    assert len(np.unique(images, axis=0)) == 36


@pytest.mark.slow
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


@pytest.mark.parametrize("kind", ["colour", "pca"])
def test_grey_images_have_no_colours_to_change(kind: str) -> None:
    with pytest.raises(DataError, match=f"{kind} needs.*channels=1"):
        augmentation.stream(stream(split(12), 4, 0), Strength(**{kind: 0.1}), 0)
