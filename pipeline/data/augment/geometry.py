"""Where the pixels of an augmented image come from: one projective transform for everything.

Source:  random affine maps, Simard et al. 2003, https://doi.org/10.1109/ICDAR.2003.1227801;
         pad and crop, He et al. 2016, section 4.2, https://arxiv.org/abs/1512.03385;
         scale and crop, Szegedy et al. 2015, section 6, https://arxiv.org/abs/1409.4842;
         cutout, DeVries & Taylor 2017, https://arxiv.org/abs/1708.04552.
"""

import math
from typing import Any

from pipeline.data.augment.strength import Strength

RATIO = 4 / 3  # of a cut-out's sides, relative to the image's, at most


def warp(images: Any, maps: Any) -> Any:
    """Take every pixel `[x, y]` of the result from place `M [x, y, 1]` of the image.

    What comes in from outside has the value 0.

    Args:
        images: float32 [B, H, W, C].
        maps: float32 [B, 6], the two rows of each M.
    """
    import tensorflow as tf

    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.pad(maps, [[0, 0], [0, 2]]),
        output_shape=images.shape[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


def affine(
    side: Any, draws: list[Any], strength: Strength, height: int, width: int
) -> tuple[Any, ...]:
    """Rotation, shear, mirror, zoom and shift: `source = A (pixel - centre) + centre + shift`.

    `A = rotation @ shear @ mirror / zoom`.

    Args:
        side: [B], -1 for a mirrored image, else 1.
        draws: Five of [B] in -1..1: angle, shear, zoom, shift in x and in y.
        strength: Largest changes.
        height: Of the images, pixels.
        width: Of the images, pixels.

    Returns:
        The two rows of each map, six of [B].
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
    return x_of_x, x_of_y, x_shift, y_of_x, y_of_y, y_shift


def cropped(
    maps: tuple[Any, ...], draws: list[Any], strength: Strength, height: int, width: int
) -> tuple[Any, ...]:
    """Let maps read from a cut-out of the image instead of from all of it.

    - crop: a share `a` of the area, even in `crop`..1, and a ratio `q` of the sides, even in
      log between 3/4 and 4/3: `w = W sqrt(a q)`, `h = H sqrt(a / q)`, no side longer than the
      image's, in an even place.
    - pad_crop: `W` x `H` pixels out of the image with a margin of `pad_crop` pixels or, below 1,
      of that fraction of the side: a whole shift.

    Args:
        maps: The two rows of each map, six of [B].
        draws: Six of [B] in -1..1: area, ratio, x and y of the crop, x and y of the shift.
        strength: Largest changes.
        height: Of the images, pixels.
        width: Of the images, pixels.
    """
    import tensorflow as tf

    if strength.crop is not None:
        area = 1 - (1 - strength.crop) * (draws[0] + 1) / 2
        ratio = tf.exp(draws[1] * math.log(RATIO))
        across = tf.minimum(tf.sqrt(area * ratio), 1.0)
        down = tf.minimum(tf.sqrt(area / ratio), 1.0)
        # pixel centres: (x + 0.5) w / W - 0.5 + left
        left = (1 - across) * width * (draws[2] + 1) / 2 + (across - 1) / 2
        top = (1 - down) * height * (draws[3] + 1) / 2 + (down - 1) / 2
        xx, xy, x, yx, yy, y = maps
        maps = (
            *(across * xx, across * xy, across * x + left),
            *(down * yx, down * yy, down * y + top),
        )
    if strength.pad_crop:
        most = [_pixels(strength.pad_crop, side) for side in (width, height)]
        across, down = (_whole(*both) for both in zip(draws[4:6], most, strict=True))
        maps = (*maps[:2], maps[2] + across, *maps[3:5], maps[5] + down)
    return maps


def _pixels(most: float, side: int) -> int:
    """Pixels of a margin that is given in pixels or, below 1, as a fraction of a side."""
    return round(most * side) if most < 1 else int(most)


def _whole(draw: Any, largest: int) -> Any:
    """A whole number in -largest..largest, each as likely: [B] -> [B]."""
    import tensorflow as tf

    places = 2 * largest + 1
    return tf.minimum(tf.floor((draw + 1) / 2 * places), places - 1.0) - largest


def background(images: Any) -> Any:
    """Median colour of the border, per channel: [B, H, W, C] -> [B, 1, 1, C]."""
    import tensorflow as tf

    sides = [images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1]]
    border = tf.sort(tf.concat(sides, axis=1), axis=1)
    return border[:, border.shape[1] // 2][:, None, None]


def holes(draws: list[Any], side: float, height: int, width: int) -> Any:
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
