"""The images of one training: batches, augmented for training and plain for validation."""

from typing import Any

import numpy as np

from pipeline.data import datasets
from pipeline.data.augment import augmentation
from pipeline.data.augment.strength import Strength, strength
from pipeline.data.stream import batch, stream
from pipeline.train import class_weights
from pipeline.train.settings import Settings

VAL_BATCH = 256  # images


def streams(
    dataset: datasets.Dataset, settings: Settings, seed: int, first_epoch: int = 0
) -> tuple[Any, Any]:
    """Make the batches `(images 0..255, labels)` to train on, and those to validate on.

    With weights of classes, those to train on are `(images, labels, weights)`.

    Args:
        dataset: Its train and val parts are read.
        settings: Batch size, images per epoch, sampling, augmentation and weights of classes.
        seed: Decides the order of the images and what augmentation does to them.
        first_epoch: From 0; a training that resumes gets the batches that it would have had.
    """
    size, images = settings.batch_size, settings.epoch_images
    train = stream(dataset.train, size, seed, first_epoch, images, settings.sampling)
    changes = strength(settings.augmentation, settings.flip)
    if changes != Strength():
        train = augmentation.stream(
            train,
            changes,
            seed,
            first_epoch,
            num_classes=dataset.num_classes,
            sample=lambda: batch(dataset.train, augmentation.SAMPLE, seed)[0],
        )
    weights = class_weights.of(settings.class_weights, dataset)
    if weights is not None:
        train = class_weights.add(train, weights)
    return train, stream(dataset.val, VAL_BATCH)


def steps_per_epoch(dataset: datasets.Dataset, settings: Settings) -> int:
    """Updates of the weights in one epoch."""
    images = min(len(dataset.train), settings.epoch_images or len(dataset.train))
    return max(1, images // settings.batch_size)


def first_images(
    dataset: datasets.Dataset, settings: Settings, seed: int, count: int
) -> np.ndarray | None:
    """Return the first training images of epoch 0 as the network sees them.

    Returns:
        float32 `[count, H, W, C]`; None if augmentation leaves the images unchanged.
    """
    if strength(settings.augmentation, settings.flip) == Strength():
        return None
    train, _ = streams(dataset, settings, seed)
    batches = train.take(-(-count // settings.batch_size)).as_numpy_iterator()
    return np.concatenate([images for images, *_ in batches])[:count]
