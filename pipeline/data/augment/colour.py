"""Changes of tone and colour.

Source:  brightness, contrast, saturation and hue as torchvision's ColorJitter defines them;
         shifts along the main axes of the colours, Krizhevsky et al. 2012, section 4.1,
         https://papers.nips.cc/paper/4824.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.data.augment.strength import Strength


def toned(images: Any, draws: list[Any], strength: Strength) -> Any:
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


def tinted(images: Any, draws: list[Any], size: float) -> Any:
    """Multiply the saturation by `1 + size u` and turn the hue by `size v` of its circle.

    Keras has a layer for each; this does both with one way to HSV and back.

    Args:
        images: float32 [B, H, W, 3] in 0..255.
        draws: Two of [B] in -1..1, u and v.
        size: Largest change.
    """
    import tensorflow as tf

    hue, saturation, value = tf.unstack(tf.image.rgb_to_hsv(images / 255), axis=-1)
    saturation = tf.minimum(saturation * (1 + size * draws[0])[:, None, None], 1.0)
    hue = tf.math.floormod(hue + size * draws[1][:, None, None], 1.0)
    changed = tf.image.hsv_to_rgb(tf.stack([hue, saturation, value], axis=-1))
    return tf.clip_by_value(255 * changed, 0.0, 255.0)


def palette(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """The main axes of the colours, each as long as their variance along it.

    With the eigenvectors `p_i` and eigenvalues `l_i` of the 3 x 3 covariance of the pixels, in
    0..1 as the paper's numbers need it: `[l_1 p_1, l_2 p_2, l_3 p_3]`, times 255. They are those of
    the training images, as in the paper: of one image alone, one without colour would not move.

    Args:
        images: uint8 [N, H, W, 3].

    Returns:
        float32 [3, 3], an axis per column.
    """
    pixels = images.reshape(-1, 3).astype(np.float64) / 255
    lengths, axes = np.linalg.eigh(np.cov(pixels, rowvar=False))
    found: npt.NDArray[np.float32] = (255 * axes * lengths).astype(np.float32)
    return found


def shifted(images: Any, draws: Any, size: float, axes: npt.NDArray[np.float32]) -> Any:
    """Add `sum_i a_i l_i p_i` to every pixel of an image, kept in 0..255.

    Args:
        images: float32 [B, H, W, 3] in 0..255.
        draws: [B, 3], normal with deviation 1.
        size: Deviation of `a`.
        axes: From `palette`.
    """
    import tensorflow as tf

    shift = tf.linalg.matmul(size * draws, axes, transpose_b=True)
    return tf.clip_by_value(images + shift[:, None, None], 0.0, 255.0)
