"""Mixup and cutmix: two images in one, and two labels in the same shares.

Source:  mixup, Zhang et al. 2018, equation 1, https://arxiv.org/abs/1710.09412;
         cutmix, Yun et al. 2019, equations 1 and 2, https://arxiv.org/abs/1905.04899.
"""

from typing import Any

from pipeline.data.augment.strength import Strength


def mixed(
    images: Any, labels: Any, strength: Strength, seed: Any, num_classes: int
) -> tuple[Any, Any]:
    """Mix every image with the one before it in the batch.

    With a share `s` drawn from Beta(alpha, alpha) for every image:

    - mixup: `x = s x_a + (1 - s) x_b`.
    - cutmix: a rectangle with sides `W sqrt(1 - s)`, `H sqrt(1 - s)` around an even place comes
      from `x_b`; `s` is then the share of the pixels that are left of `x_a`.

    The label is `s q_a + (1 - s) q_b`. Where both are asked for, every image draws which of them
    is applied to it.

    Args:
        images: float32 [B, H, W, C] in 0..255.
        labels: Whole numbers [B].
        strength: `mixup` and `cutmix` are the alphas; 0 is never drawn.
        seed: Two whole numbers.
        num_classes: K.

    Returns:
        float32 [B, H, W, C] and float32 [B, K], of which every row sums to 1.
    """
    import tensorflow as tf

    count = tf.shape(images)[0]
    fold = tf.random.experimental.stateless_fold_in
    cut = tf.random.stateless_uniform([count], fold(seed, 0)) < (0.5 if strength.mixup else 1.0)
    cut &= strength.cutmix > 0
    alpha = tf.where(cut, strength.cutmix, strength.mixup)
    share = _beta(alpha, fold(seed, 1))
    places = tf.random.stateless_uniform([2, count], fold(seed, 2))
    kept = _outside(share, places, *images.shape[1:3])
    kept = tf.where(cut[:, None, None, None], kept, share[:, None, None, None])
    share = tf.reduce_mean(kept, axis=[1, 2, 3])[:, None]
    others = tf.roll(images, 1, axis=0)
    whole = tf.one_hot(tf.cast(labels, tf.int32), num_classes)
    return (
        tf.clip_by_value(kept * images + (1 - kept) * others, 0.0, 255.0),
        share * whole + (1 - share) * tf.roll(whole, 1, axis=0),
    )


def _beta(alpha: Any, seed: Any) -> Any:
    """Draw from Beta(alpha, alpha) as `g / (g + h)` of two Gamma(alpha): [B] -> [B]."""
    import tensorflow as tf

    shape = tf.concat([[2], tf.shape(alpha)], axis=0)
    # of a small alpha, most draws are less than float32 can hold
    one, other = tf.unstack(
        tf.random.stateless_gamma(shape, seed, tf.cast(alpha, tf.float64), dtype=tf.float64)
    )
    return tf.cast(tf.math.divide_no_nan(one, one + other), tf.float32)


def _outside(share: Any, places: Any, height: int, width: int) -> Any:
    """Zero in a rectangle of `1 - share` of the area, cut off at the edge; else one.

    Args:
        share: [B] in 0..1.
        places: [2, B] in 0..1, y and x of the centre.
        height: Of the images, pixels.
        width: Of the images, pixels.

    Returns:
        float32 [B, H, W, 1].
    """
    import tensorflow as tf

    reach = tf.sqrt(1 - share) / 2

    def near(place: Any, length: int) -> Any:
        pixels = (tf.range(length, dtype=tf.float32) + 0.5) / length
        return tf.abs(pixels - place[:, None]) < reach[:, None]

    inside = near(places[0], height)[:, :, None] & near(places[1], width)[:, None, :]
    return tf.cast(~inside, tf.float32)[..., None]
