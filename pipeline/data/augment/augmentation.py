"""Augmentation: every training image moved, turned, toned or mixed, anew in each epoch.

`strength` says what there is; `geometry`, `colour`, `randaugment` and `mixing` do it, in turn.
"""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.data.augment import colour, geometry, mixing
from pipeline.data.augment.strength import STRENGTHS, Augmentation, Strength
from pipeline.errors import DataError

if TYPE_CHECKING:
    import tensorflow as tf

SAMPLE = 1000  # training images from which `pca` takes the axes of the colours


def stream(
    batches: "tf.data.Dataset",
    changes: Strength,
    seed: int,
    first_epoch: int = 0,
    *,
    num_classes: int = 0,
    sample: Callable[[], Any] | None = None,
) -> "tf.data.Dataset":
    """Augment what `data.stream` feeds to Keras.

    Args:
        batches: (float32 [B, H, W, C] in 0..255, labels [B]); iterated once per epoch.
        changes: What is done, and how much.
        seed: With the numbers of epoch and step, decides what happens to every image.
        first_epoch: Number of the epoch that the first iteration is.
        num_classes: Length of a mixed label; only needed where images are mixed.
        sample: Returns some training images, uint8 [N, H, W, C]; only needed for `pca`.

    Returns:
        The same; labels are float32 [B, num_classes] where images are mixed.

    Raises:
        DataError: colours are to be changed, but the images are grey.
    """
    import tensorflow as tf

    channels = batches.element_spec[0].shape[-1]
    check(changes, channels)
    change = Augmenter(changes, channels, sample() if sample and changes.pca else None)
    steps = batches.cardinality()
    epochs = itertools.count(first_epoch)

    # AutoGraph would take a second, each time, to rewrite functions without control flow
    plain = tf.autograph.experimental.do_not_convert

    @plain
    def numbered(_: Any) -> Any:
        epoch = tf.numpy_function(lambda: np.int64(next(epochs)), [], tf.int64)
        epoch = tf.ensure_shape(epoch, [])
        return tf.data.Dataset.range(steps).map(plain(lambda step: (epoch, step)))

    @plain
    def changed(batch: tuple[Any, Any], place: tuple[Any, Any]) -> tuple[Any, Any]:
        key = tf.constant([seed, 0], tf.int64)
        for number in place:
            key = tf.random.experimental.stateless_fold_in(key, number)
        images, labels = change(batch[0], key), batch[1]
        if not changes.mixes:
            return images, labels
        return mixing.mixed(images, labels, changes, _fold(key, 4), num_classes)

    places = tf.data.Dataset.range(1).flat_map(numbered)
    paired = tf.data.Dataset.zip(batches, places).map(changed, num_parallel_calls=tf.data.AUTOTUNE)
    paired = paired.prefetch(tf.data.AUTOTUNE)
    return paired.apply(tf.data.experimental.assert_cardinality(steps))


class Augmenter:
    """Changes each image of a batch in its own way; `mixing` is separate.

    Pixels that come in from outside an image get the median colour of its border. That is the paper
    behind a digit, black or white, and a plain tone on a photograph; the network learns nothing
    from it. Mirrored or stretched edges would lengthen or double the strokes of a digit that
    touches the border, and black would be an edge that no photograph has.
    """

    def __init__(self, changes: Strength, channels: int, sample: Any = None) -> None:
        self._changes = changes
        self._axes: Any = colour.palette(sample) if changes.pca else None
        self._policy: Any = None
        if changes.randaugment:
            from pipeline.data.augment.randaugment import Policy

            self._policy = Policy(changes.randaugment, channels)

    def __call__(self, images: Any, seed: Any) -> Any:
        """Change a batch.

        Args:
            images: float32 [B, H, W, C] in 0..255.
            seed: Two whole numbers; the same ones make the same changes.

        Returns:
            float32 [B, H, W, C] in 0..255.
        """
        import tensorflow as tf

        changes = self._changes
        count = tf.shape(images)[0]
        chance, *draws = tf.unstack(tf.random.stateless_uniform([10, count], seed, -1.0, 1.0))
        images = self._moved(images, chance, draws, seed)
        if changes.brightness or changes.contrast:
            images = colour.toned(images, draws[7:], changes)
        if changes.colour:
            turns = tf.random.stateless_uniform([2, count], _fold(seed, 1), -1.0, 1.0)
            images = colour.tinted(images, tf.unstack(turns), changes.colour)
        if changes.pca:
            normal = tf.random.stateless_normal([count, 3], _fold(seed, 2))
            images = colour.shifted(images, normal, changes.pca, self._axes)
        return self._policy(images, _fold(seed, 3)) if self._policy else images

    def _moved(self, images: Any, chance: Any, draws: list[Any], seed: Any) -> Any:
        """Mirror, move, crop and erase."""
        import tensorflow as tf

        changes = self._changes
        height, width = images.shape[1:3]
        side = tf.where(chance < 0, -1.0, 1.0) if changes.flip else tf.ones_like(chance)
        if not changes.moves and changes.flip:
            images = tf.where(side[:, None, None, None] < 0, tf.reverse(images, [2]), images)
        if not changes.moves and not changes.cutout:
            return images
        ground = geometry.background(images)
        images -= ground
        if changes.moves:
            maps = geometry.affine(side, draws[:5], changes, height, width)
            more = tf.random.stateless_uniform([6, tf.shape(chance)[0]], _fold(seed, 5), -1.0, 1.0)
            maps = geometry.cropped(maps, tf.unstack(more), changes, height, width)
            images = geometry.warp(images, tf.stack(maps, axis=1))
        if changes.cutout:
            images *= geometry.holes(draws[5:7], changes.cutout, height, width)
        return tf.clip_by_value(images + ground, 0.0, 255.0)


def check(augmentation: Augmentation | Strength, channels: int) -> None:
    """Refuse to change the colours of grey images.

    Raises:
        DataError: names the kinds.
    """
    changes = augmentation if isinstance(augmentation, Strength) else STRENGTHS[augmentation]
    kinds = [kind for kind in ("colour", "pca") if getattr(changes, kind)]
    if kinds and channels != 3:
        raise DataError(
            f"augmentation by {' and '.join(kinds)} needs images of three colours. "
            f"Received: channels={channels}. Leave it out"
        )


def _fold(seed: Any, number: int) -> Any:
    import tensorflow as tf

    return tf.random.experimental.stateless_fold_in(seed, number)
