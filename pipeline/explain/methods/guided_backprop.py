"""Guided backpropagation: gradients that pass a ReLU only where they are positive, as its input is.

The largest positive value over the channels of a pixel.

Source:  Springenberg et al. 2015, section 3.4, https://arxiv.org/abs/1412.6806.
"""

from typing import Any

import numpy as np

from pipeline.explain import gradients
from pipeline.explain.subject import Floats, Image, Subject

TITLE = "Guided backpropagation"


def needs(subject: Subject) -> str | None:
    """It needs gradients."""
    return None if subject.model is not None else gradients.WHY_NOT


def heat(subject: Subject, image: Image, k: int) -> Floats:
    """As the module says, `[H, W]`."""
    slopes = gradients.of_pixels(subject.model, image, k, guided)  # type: ignore[arg-type]
    return np.asarray(np.maximum(slopes, 0).max(axis=-1))


def guided(values: Any) -> Any:
    """ReLU, which lets only positive gradients pass."""
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def function(x: Any) -> Any:
        def slope(upstream: Any) -> Any:
            return tf.nn.relu(upstream) * tf.cast(x > 0, x.dtype)

        return tf.nn.relu(x), slope

    return function(values)
