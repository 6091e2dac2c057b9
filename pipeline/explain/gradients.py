"""Gradients of a class's logit by what a Keras model computed on the way to it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.explain.subject import Floats, Image, trace

if TYPE_CHECKING:
    import keras

WHY_NOT = "it has no gradients"


def of_pixels(
    model: "keras.Model", image: Image, k: int, relu: Callable[[Any], Any] | None = None
) -> Floats:
    """The gradient of the logit of class `k` by the pixels, `[H, W, C]`."""
    import tensorflow as tf

    pixels = tf.constant(np.asarray(image, np.float32)[None])
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        chosen = _chosen(trace(model, pixels, relu).logits, k)
    return np.asarray(tape.gradient(chosen, pixels)[0])


def of_features(model: "keras.Model", image: Image, k: int) -> tuple[Floats, Floats] | None:
    """The last features that still have places, `[h, w, c]`, and the gradient by them."""
    import tensorflow as tf

    pixels = tf.constant(np.asarray(image, np.float32)[None])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(pixels)
        found = trace(model, pixels)
        chosen = _chosen(found.logits, k)
    if found.features is None:
        return None
    slope = tape.gradient(chosen, found.features)
    return np.asarray(found.features)[0], np.asarray(slope)[0]


def _chosen(logits: Any, k: int) -> Any:
    """The logit of a class; of one output for two classes, that of the first is its negative."""
    if logits.shape[-1] == 1:
        return logits[0, 0] if k else -logits[0, 0]
    return logits[0, k]
