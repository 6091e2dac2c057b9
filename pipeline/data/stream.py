"""Images in batches: what Keras is fed with, and a handful of each class."""

import itertools
import logging
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.data.datasets import Split
from pipeline.data.division import Rows
from pipeline.data.packed import Packed

if TYPE_CHECKING:
    import tensorflow as tf

log = logging.getLogger("flopsmith")
Sampling = Literal["shuffled", "stratified", "balanced"]


def stream(
    split: Split,
    batch_size: int,
    shuffle_seed: int | None = None,
    first_epoch: int = 0,
    epoch_images: int | None = None,
    sampling: Sampling = "shuffled",
) -> "tf.data.Dataset":
    """Feed a split to Keras: (float32 [B, H, W, C] in 0..255, int32 [B]).

    Args:
        split: what to feed.
        batch_size: images per step.
        shuffle_seed: none: in order, and everything. Otherwise in another order each iteration,
            the same for the same seed; a last batch that is not full is dropped, if one is.
        first_epoch: number of the epoch that the first iteration is; it decides the order.
        epoch_images: images of a shuffled epoch, if not all; the next goes on where one ends.
        sampling: which images a shuffled batch has: any; of every class as many as its share of
            all images is; of every class as many.
    """
    import tensorflow as tf

    whole = len(split)
    count = min(whole, epoch_images or whole)
    full = shuffle_seed is not None and count >= batch_size
    steps = count // batch_size if full else -(-count // batch_size)
    images = split.images  # indexing a plain view of the map is faster
    images = images if isinstance(images, Packed) else np.asarray(images)
    epochs = itertools.count(first_epoch)

    def order() -> Rows:
        if shuffle_seed is None:
            return np.arange(count)
        return places(split.labels, count, shuffle_seed, next(epochs), sampling)

    def gather(places: Rows) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
        return images.take(split.index[places], axis=0), split.labels[places]

    # AutoGraph would rewrite these functions each time, for control flow that they do not have
    plain = tf.autograph.experimental.do_not_convert

    @plain
    def one_epoch(_: Any) -> Any:
        places = tf.numpy_function(order, [], tf.int64)
        return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(places, [count]))

    @plain
    def read(places: Any) -> tuple[Any, Any]:
        types = (tf.as_dtype(images.dtype), tf.int32)
        pixels, labels = tf.numpy_function(gather, [places], types, stateful=False)
        pixels = tf.ensure_shape(pixels, [*places.shape, *images.shape[1:]])
        return tf.cast(pixels, tf.float32), tf.ensure_shape(labels, places.shape)

    dataset = tf.data.Dataset.range(1).flat_map(one_epoch).batch(batch_size, drop_remainder=full)
    dataset = dataset.map(read, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.prefetch(tf.data.AUTOTUNE).apply(tf.data.experimental.assert_cardinality(steps))


def places(labels: npt.NDArray[Any], count: int, seed: int, epoch: int, sampling: Sampling) -> Rows:
    """Choose the places of one epoch, in the order in which they are fed.

    Unless `sampling` is "balanced", passes over all places follow each other, and every epoch takes
    the next `count` of them.
    """
    if sampling == "balanced":
        return balanced(labels, count, seed, epoch)
    passes, at = np.divmod(np.arange(count) + count * epoch, len(labels))
    parts = []
    for number in np.unique(passes):
        rng = np.random.default_rng([seed, number])
        order = rng.permutation(len(labels))
        if sampling == "stratified":
            order = stratified(labels, order, rng)
        parts.append(order[at[passes == number]])
    return np.concatenate(parts)


def stratified(labels: npt.NDArray[Any], shuffled: Rows, rng: np.random.Generator) -> Rows:
    """Arrange places so that every stretch of them has each class by its share, as far as it goes.

    Of a class with `n` images, the one that comes `i`-th in `shuffled` gets the place
    `(i + u) / n` in 0..1, with a random `u` in 0..1 for each class.
    """
    place = np.empty(len(labels))
    for label in np.unique(labels):
        own = shuffled[labels[shuffled] == label]
        place[own] = (np.arange(len(own)) + rng.random()) / len(own)
    return np.argsort(place, kind="stable")


def balanced(labels: npt.NDArray[Any], count: int, seed: int, epoch: int) -> Rows:
    """Choose places for one epoch: of every class as many, in every batch as far as it goes.

    The images of a class come in a random order, each once, and then in another order; the next
    epoch goes on where this one ends. Where `count` is no multiple of the number of classes, some
    have one image more, and in the next epoch others.
    """
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    classes = len(members)
    each, rest = divmod(count, classes)
    rng = np.random.default_rng([seed, 0, epoch])
    more = np.arange(rest * epoch, rest * (epoch + 1)) % classes
    turns = rng.permuted(np.tile(np.arange(classes), (each, 1)), axis=1).ravel()
    turns = np.concatenate([turns, rng.permutation(more)])
    chosen = np.empty(count, np.int64)
    for number, own in enumerate(members):
        before = each * epoch + (rest * epoch + classes - 1 - number) // classes
        turn = turns == number
        passes, at = np.divmod(before + np.arange(np.count_nonzero(turn)), len(own))
        orders = {p: np.random.default_rng([seed, 1 + number, p]) for p in np.unique(passes)}
        parts = [rng.permutation(own)[at[passes == p]] for p, rng in orders.items()]
        chosen[turn] = np.concatenate([np.empty(0, np.int64), *parts])
    return chosen


def batch(
    split: Split, count: int, seed: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Choose `count` images (all, if there are fewer), the classes as evenly as possible."""
    at = chosen(split, count, seed)
    return np.asarray(split.images[split.index[at]]), split.labels[at]


def calibration(split: Split, count: int, seed: int) -> npt.NDArray[np.uint8]:
    """The images of `batch`, to measure ranges on: at least one of each class, which it says."""
    classes = len(np.unique(split.labels))
    if count < classes:
        log.info("ranges are measured on %d images, one of each class. Asked: %d", classes, count)
    return batch(split, max(count, classes), seed)[0]


def chosen(split: Split, count: int, seed: int) -> Rows:
    """The places of the images that `batch` chooses."""
    shuffled = np.random.default_rng(seed).permutation(len(split))
    labels = split.labels[shuffled]
    turn = np.empty(len(split), np.int64)  # 0 for the first image of its class, 1 for the next ...
    for label in np.unique(labels):
        turn[labels == label] = np.arange(np.count_nonzero(labels == label))
    return np.asarray(shuffled[np.argsort(turn, kind="stable")][:count])
