"""Images in batches: what Keras is fed with, and a handful of each class."""

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.data.datasets import Split
from pipeline.data.division import Rows
from pipeline.data.packed import Packed

if TYPE_CHECKING:
    import tensorflow as tf


def stream(
    split: Split,
    batch_size: int,
    shuffle_seed: int | None = None,
    first_epoch: int = 0,
    epoch_images: int | None = None,
) -> "tf.data.Dataset":
    """Feed a split to Keras: (float32 [B, H, W, C] in 0..255, int32 [B]).

    Args:
        split: what to feed.
        batch_size: images per step.
        shuffle_seed: none: in order, and everything. Otherwise in another order each iteration,
            the same for the same seed; a last batch that is not full is dropped, if one is.
        first_epoch: number of the epoch that the first iteration is; it decides the order.
        epoch_images: images of a shuffled epoch, if not all; the next goes on where one ends.
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
        passes, at = np.divmod(np.arange(count) + count * next(epochs), whole)
        rngs = {one: np.random.default_rng([shuffle_seed, one]) for one in np.unique(passes)}
        return np.concatenate([r.permutation(whole)[at[passes == p]] for p, r in rngs.items()])

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


def batch(
    split: Split, count: int, seed: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Choose `count` images (all, if there are fewer), the classes as evenly as possible."""
    shuffled = np.random.default_rng(seed).permutation(len(split))
    labels = split.labels[shuffled]
    turn = np.empty(len(split), np.int64)  # 0 for the first image of its class, 1 for the next ...
    for label in np.unique(labels):
        turn[labels == label] = np.arange(np.count_nonzero(labels == label))
    chosen = shuffled[np.argsort(turn, kind="stable")][:count]
    return np.asarray(split.images[split.index[chosen]]), split.labels[chosen]
