"""RandAugment: a few operations per image, drawn uniformly, all of the same magnitude.

Source:  Cubuk et al. 2020, https://arxiv.org/abs/1909.13719; the largest sizes are those of
         Cubuk et al. 2019, table 6, https://arxiv.org/abs/1805.09501.

Pixels are changed by the layers of Keras, with random numbers of ours. `keras.layers.RandAugment`
itself computes all of its operations on all images, keeps the same ones for a whole batch, and
equalizes a batch with one histogram. Here every image has operations of its own: a batch is split
by operation, so that each image is changed once per round, and put together again.
"""

import math
from collections.abc import Callable
from typing import Any

import keras

from pipeline.data.augment import geometry
from pipeline.data.augment.strength import RandAugment

SHEAR, SHIFT, TURN = 0.3, 0.45, math.radians(30)  # slope, fraction of the side, angle
BLEND = 0.9  # distance from 1 of the factors of colour, contrast, brightness and sharpness
BITS = 4  # that posterizing takes away
MOVES = 5  # the first so many operations move pixels: they share one transform
OPERATIONS = (
    *("shear_x", "shear_y", "shift_x", "shift_y", "rotate"),
    *("identity", "autocontrast", "equalize", "solarize", "posterize"),
    *("contrast", "brightness", "sharpness"),
    "colour",  # last: grey images go without it
)


class Policy:
    """The operations, ready to be used in tf.data."""

    def __init__(self, settings: RandAugment, channels: int) -> None:
        self._rounds, self._size = settings.operations, settings.magnitude
        self.names = OPERATIONS if channels == 3 else OPERATIONS[:-1]
        kinds = keras.layers
        self._layers = {
            "autocontrast": kinds.AutoContrast(),
            "equalize": kinds.Equalization(),
            "solarize": kinds.Solarization(seed=0),
            "posterize": kinds.RandomPosterization(8, seed=0),
            "contrast": kinds.RandomContrast(1.0, seed=0),
            "sharpness": kinds.RandomSharpness(1.0, seed=0),
            "colour": kinds.RandomColorDegeneration(1.0, seed=0),
        }
        for layer in self._layers.values():
            layer.backend.set_backend(
                "tensorflow"
            )  # they run in tf.data, whatever backend trains the network

    def __call__(self, images: Any, seed: Any) -> Any:
        """Change a batch.

        Args:
            images: float32 [B, H, W, C] in 0..255.
            seed: Two whole numbers.
        """
        import tensorflow as tf

        shape = [self._rounds, tf.shape(images)[0]]
        fold = tf.random.experimental.stateless_fold_in
        kinds = tf.random.stateless_uniform(shape, fold(seed, 0), 0, len(self.names), tf.int32)
        signs = tf.sign(tf.random.stateless_uniform(shape, fold(seed, 1), -1.0, 1.0))
        for i in range(self._rounds):
            images = self._round(images, kinds[i], signs[i])
        return images

    def _round(self, images: Any, kinds: Any, signs: Any) -> Any:
        """Apply to each image the operation of its number."""
        import tensorflow as tf

        parts = tf.maximum(kinds - (MOVES - 1), 0)  # 0: all that move
        count = len(self.names) - (MOVES - 1)
        places = tf.dynamic_partition(tf.range(tf.shape(images)[0]), parts, count)
        changed = [self._moved(tf.gather(images, places[0]), *self._at(places[0], kinds, signs))]
        for name, rows in zip(self.names[MOVES:], places[1:], strict=True):
            changed.append(self.apply(name, tf.gather(images, rows), tf.gather(signs, rows)))
        return tf.ensure_shape(tf.dynamic_stitch(places, changed), images.shape)

    @staticmethod
    def _at(rows: Any, *values: Any) -> list[Any]:
        import tensorflow as tf

        return [tf.gather(value, rows) for value in values]

    def _moved(self, images: Any, kinds: Any, signs: Any) -> Any:
        """Shear, shift or rotate around the centre."""
        import tensorflow as tf

        height, width = images.shape[1:3]
        sizes = (SHEAR, SHEAR, SHIFT * width, SHIFT * height, TURN)
        amounts = [
            tf.where(kinds == i, signs * size * self._size, 0.0) for i, size in enumerate(sizes)
        ]
        cos, sin = tf.cos(amounts[4]), tf.sin(amounts[4])
        xx, xy, yx, yy = cos, amounts[0] - sin, amounts[1] + sin, cos
        x, y = (width - 1) / 2, (height - 1) / 2
        rows = (xx, xy, x + amounts[2] - xx * x - xy * y, yx, yy, y + amounts[3] - yx * x - yy * y)
        ground = geometry.background(images)
        return geometry.warp(images - ground, tf.stack(rows, axis=1)) + ground

    def apply(self, name: str, images: Any, signs: Any) -> Any:
        """Do one operation that moves no pixels.

        Args:
            name: Of `OPERATIONS`.
            images: float32 [B, H, W, C] in 0..255.
            signs: [B], 1 or -1: the direction, where there are two.
        """
        import tensorflow as tf

        size = self._size
        factor = (1 + BLEND * size * signs)[:, None, None, None]
        layer: Callable[..., Any] | None = None
        if name in self._layers:
            layer = self._layers[name].transform_images
        settings: dict[str, dict[str, Any]] = {
            "solarize": {"additions": 0.0, "thresholds": 256.0 * (1 - size)},
            "posterize": {"shift_factor": tf.cast(0 * signs + round(BITS * size), tf.uint8)},
            "contrast": {"contrast_factor": factor},
            "sharpness": {"factor": factor / 2},
            "colour": {"factor": 1 - factor},
        }
        if name == "brightness":  # a factor, as in the paper; the layer of Keras adds
            images = factor * images
        elif name == "equalize" and layer:  # one histogram per call
            alone = layer
            changed = tf.map_fn(lambda image: alone(image[None], {})[0], images)
            images = tf.reshape(changed, tf.shape(images))  # if there is none, it has no shape
        elif name == "autocontrast" and layer:  # which needs at least one image
            images = layer(tf.pad(images, [[0, 1], [0, 0], [0, 0], [0, 0]]), {})[:-1]
        elif name == "sharpness" and layer:  # which blurs with black from outside
            edged = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
            images = layer(edged, settings[name])[:, 1:-1, 1:-1]
        elif layer:
            images = layer(images, settings[name])
        return tf.clip_by_value(images, 0.0, 255.0)
