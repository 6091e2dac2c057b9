"""The images of one training: batches, augmented for training and plain for validation."""

import keras
import numpy as np
import pytest

from pipeline.data.datasets import Dataset, Split
from pipeline.data.stream import batch
from pipeline.train import inputs, training
from pipeline.train.settings import Settings


def test_the_first_images_are_those_that_training_begins_with(few_digits: Dataset) -> None:
    settings = Settings(batch_size=12, augmentation="medium", flip=True)
    images = inputs.first_images(few_digits, settings, 3, 32)
    train, _ = inputs.streams(few_digits, settings, 3)
    first = next(iter(train.as_numpy_iterator()))[0]
    np.testing.assert_array_equal(images[:12], first)
    assert images.shape == (32, *few_digits.image_shape)


def test_the_images_of_the_data_stay_as_they_are(few_digits: Dataset) -> None:
    before = batch(few_digits.train, 8, 0)[0].copy()
    inputs.first_images(few_digits, Settings(augmentation="strong"), 0, 8)
    np.testing.assert_array_equal(batch(few_digits.train, 8, 0)[0], before)


def test_images_without_augmentation_are_those_of_the_data(few_digits: Dataset) -> None:
    assert inputs.first_images(few_digits, Settings(), 0, 8) is None
    train, _ = inputs.streams(few_digits, Settings(batch_size=96), 0)
    images, labels = next(iter(train.as_numpy_iterator()))
    order = np.lexsort(images.reshape(96, -1).T)
    known = few_digits.train.images[few_digits.train.index].astype("float32")
    again = np.lexsort(known.reshape(96, -1).T)
    np.testing.assert_array_equal(images[order], known[again])
    assert sorted(labels) == sorted(few_digits.train.labels)


def test_validation_images_are_never_augmented(few_digits: Dataset) -> None:
    (_, plain), (_, other) = (
        inputs.streams(few_digits, Settings(augmentation=kind), 0) for kind in ("none", "strong")
    )
    for one, two in zip(plain.as_numpy_iterator(), other.as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])


@pytest.mark.parametrize("augmentation", ["none", "medium"])
def test_training_that_resumes_gets_the_batches_of_its_epoch(
    few_digits: Dataset, augmentation: str
) -> None:
    settings = Settings(batch_size=32, augmentation=augmentation)
    whole, _ = inputs.streams(few_digits, settings, 3)
    later, _ = inputs.streams(few_digits, settings, 3, first_epoch=1)
    first, second = ([images for images, _ in whole.as_numpy_iterator()] for _ in range(2))
    resumed = [images for images, _ in later.as_numpy_iterator()]
    assert len(resumed) == inputs.steps_per_epoch(few_digits, settings) == 3
    for one, two in zip(second, resumed, strict=True):
        np.testing.assert_array_equal(one, two)
    assert any((one != two).any() for one, two in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"batch_size": 32}, 3),
        ({"batch_size": 40}, 2),
        ({"batch_size": 200}, 1),
        ({"batch_size": 8, "epoch_images": 40}, 5),
        ({"batch_size": 32, "epoch_images": 1000}, 3),
    ],
)
def test_an_epoch_has_a_step_for_every_whole_batch(
    few_digits: Dataset, settings: dict[str, int], steps: int
) -> None:
    assert inputs.steps_per_epoch(few_digits, Settings(**settings)) == steps


def test_images_are_augmented_for_training_only() -> None:
    labels = np.array([0, 1] * 32, np.int32)
    images = np.zeros((64, 4, 4, 1), np.uint8)
    images[labels == 0, :, :2] = images[labels == 1, :, 2:] = 255
    part = Split(images, labels, np.arange(64))
    halves = Dataset("halves", ("left", "right"), part, part, part, fingerprint="halves")
    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))
    left = np.tile(np.float32([1, 1, -1, -1]), 4)
    model.set_weights([np.stack([left, -left], axis=1), np.zeros(2, np.float32)])
    settings = Settings(epochs=1, optimizer="sgd", learning_rate=1e-12, flip=True)
    history = training.fit(model, halves, settings, 0, training.Session("test"))
    assert history["val/accuracy"] == [1.0]
    assert 0.25 < history["train/accuracy"][0] < 0.75
