"""Augmentation: every training image moved, turned and toned a little, anew in each epoch.

Source:  random affine maps, Simard et al. 2003, https://doi.org/10.1109/ICDAR.2003.1227801;
         brightness and contrast as torchvision's ColorJitter defines them;
         cutout, DeVries & Taylor 2017, https://arxiv.org/abs/1708.04552.
"""

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

Augmentation = Literal["none", "light", "medium", "strong"]


@dataclass(frozen=True)
class Strength:
    """Largest change of each kind; every image draws its own, evenly up to it either way."""

    rotate: float = 0.0  # degrees
    shift: float = 0.0  # fraction of the side, in both directions
    zoom: float = 0.0  # 0.08: between 1/1.08 and 1.08 times as large
    shear: float = 0.0  # degrees
    brightness: float = 0.0  # 0.2: pixels times 0.8..1.2
    contrast: float = 0.0  # 0.2: distance from the mean pixel times 0.8..1.2
    cutout: float = 0.0  # side of the erased square, fraction of the image's side


STRENGTHS: dict[Augmentation, Strength] = {
    "none": Strength(),
    "light": Strength(rotate=8, shift=0.08, zoom=0.08, shear=4),
    "medium": Strength(rotate=15, shift=0.12, zoom=0.15, shear=8, brightness=0.2, contrast=0.2),
    "strong": Strength(
        rotate=20, shift=0.16, zoom=0.25, shear=12, brightness=0.4, contrast=0.4, cutout=0.25
    ),
}


def stream(
    batches: "tf.data.Dataset",
    augmentation: Augmentation,
    flip: bool,
    seed: int,
    first_epoch: int = 0,
) -> "tf.data.Dataset":
    """Augment what `data.stream` feeds to Keras.

    Args:
        batches: (float32 [B, H, W, C] in 0..255, labels [B]); iterated once per epoch.
        augmentation: How much; a row of `STRENGTHS`.
        flip: Whether half of the images are mirrored left to right.
        seed: With the numbers of epoch and step, decides what happens to every image.
        first_epoch: Number of the epoch that the first iteration is.
    """
    import tensorflow as tf

    steps = batches.cardinality()
    epochs = itertools.count(first_epoch)

    def numbered(_: Any) -> Any:
        epoch = tf.numpy_function(lambda: np.int64(next(epochs)), [], tf.int64)
        epoch = tf.ensure_shape(epoch, [])
        return tf.data.Dataset.range(steps).map(lambda step: (epoch, step))

    def changed(batch: tuple[Any, Any], place: tuple[Any, Any]) -> tuple[Any, Any]:
        key = tf.constant([seed, 0], tf.int64)
        for number in place:
            key = tf.random.experimental.stateless_fold_in(key, number)
        return augment(batch[0], STRENGTHS[augmentation], flip, key), batch[1]

    places = tf.data.Dataset.range(1).flat_map(numbered)
    paired = tf.data.Dataset.zip(batches, places).map(changed, num_parallel_calls=tf.data.AUTOTUNE)
    paired = paired.prefetch(tf.data.AUTOTUNE)
    return paired.apply(tf.data.experimental.assert_cardinality(steps))


def augment(images: Any, strength: Strength, flip: bool, seed: Any) -> Any:
    """Change a batch of images, each in its own way.

    What comes in from outside an image gets the median colour of its border. That is the paper
    behind a digit, black or white, and a plain tone on a photograph; the network learns nothing
    from it. Mirrored or stretched edges would lengthen or double the strokes of a digit that
    touches the border, and black would be an edge that no photograph has.

    Args:
        images: float32 [B, H, W, C] in 0..255.
        strength: Largest changes.
        flip: Whether half of the images are mirrored left to right.
        seed: Two whole numbers; the same ones make the same changes.

    Returns:
        float32 [B, H, W, C] in 0..255.
    """
    import tensorflow as tf

    height, width = images.shape[1:3]
    count = tf.shape(images)[0]
    chance, *draws = tf.unstack(tf.random.stateless_uniform([10, count], seed, -1.0, 1.0))
    side = tf.where(chance < 0, -1.0, 1.0) if flip else tf.ones_like(chance)
    if strength == Strength():
        return tf.where(side[:, None, None, None] < 0, tf.reverse(images, [2]), images)
    ground = _background(images)
    images = tf.raw_ops.ImageProjectiveTransformV3(
        images=images - ground,
        transforms=_maps(side, draws[:5], strength, height, width),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    if strength.cutout:
        images *= _holes(draws[5:7], strength.cutout, height, width)
    return _toned(images + ground, draws[7:], strength)


def _maps(side: Any, draws: list[Any], strength: Strength, height: int, width: int) -> Any:
    """Where each pixel of the result comes from: `source = A (pixel - centre) + centre + shift`.

    `A = rotation @ shear @ mirror / zoom`, in the six plus two numbers of a projective transform.

    Args:
        side: [B], -1 for a mirrored image, else 1.
        draws: Five of [B] in -1..1: angle, shear, zoom, shift in x and in y.
        strength: Largest changes.
        height: Of the images, pixels.
        width: Of the images, pixels.

    Returns:
        float32 [B, 8].
    """
    import tensorflow as tf

    angle = draws[0] * math.radians(strength.rotate)
    slope = tf.tan(draws[1] * math.radians(strength.shear))
    scale = tf.exp(-draws[2] * math.log1p(strength.zoom))
    cos, sin = tf.cos(angle) * scale, tf.sin(angle) * scale
    x_of_x, x_of_y = cos * side, cos * slope - sin
    y_of_x, y_of_y = sin * side, sin * slope + cos
    x, y = (width - 1) / 2, (height - 1) / 2
    x_shift = x + draws[3] * strength.shift * width - x_of_x * x - x_of_y * y
    y_shift = y + draws[4] * strength.shift * height - y_of_x * x - y_of_y * y
    none = tf.zeros_like(angle)
    return tf.stack([x_of_x, x_of_y, x_shift, y_of_x, y_of_y, y_shift, none, none], axis=1)


def _background(images: Any) -> Any:
    """Median colour of the border, per channel: [B, H, W, C] -> [B, 1, 1, C]."""
    import tensorflow as tf

    sides = [images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1]]
    border = tf.sort(tf.concat(sides, axis=1), axis=1)
    return border[:, border.shape[1] // 2][:, None, None]


def _holes(draws: list[Any], side: float, height: int, width: int) -> Any:
    """Zero in a square around a random place, which may overlap the edge; else one.

    Args:
        draws: Two of [B] in -1..1: x and y of the centre.
        side: Of the square, fraction of the image's side.
        height: Of the images, pixels.
        width: Of the images, pixels.

    Returns:
        float32 [B, H, W, 1].
    """
    import tensorflow as tf

    def near(draw: Any, length: int) -> Any:
        pixels = (tf.range(length, dtype=tf.float32) + 0.5) / length
        return tf.abs(pixels - (draw[:, None] + 1) / 2) < side / 2

    inside = near(draws[1], height)[:, :, None] & near(draws[0], width)[:, None, :]
    return tf.cast(~inside, tf.float32)[..., None]


def _toned(images: Any, draws: list[Any], strength: Strength) -> Any:
    """Change brightness and contrast: `c (b x - mean(b x)) + mean(b x)`, kept in 0..255.

    Args:
        images: float32 [B, H, W, C].
        draws: Two of [B] in -1..1, for the factors b and c.
        strength: Largest changes.
    """
    import tensorflow as tf

    if strength.brightness or strength.contrast:
        b = (1 + strength.brightness * draws[0])[:, None, None, None]
        c = (1 + strength.contrast * draws[1])[:, None, None, None]
        mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
        images = b * (c * images + (1 - c) * mean)
    return tf.clip_by_value(images, 0.0, 255.0)
