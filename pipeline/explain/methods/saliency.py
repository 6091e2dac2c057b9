"""Saliency: how fast the logit of the class changes with each pixel.

The largest size of the gradient over the channels of a pixel.

Source:  Simonyan et al. 2014, section 3, https://arxiv.org/abs/1312.6034.
"""

import numpy as np

from pipeline.explain import gradients
from pipeline.explain.subject import Floats, Image, Subject

TITLE = "Saliency"


def needs(subject: Subject) -> str | None:
    """It needs gradients."""
    return None if subject.model is not None else gradients.WHY_NOT


def heat(subject: Subject, image: Image, k: int) -> Floats:
    """As the module says, `[H, W]`."""
    slopes = gradients.of_pixels(subject.model, image, k)  # type: ignore[arg-type]
    return np.asarray(np.abs(slopes).max(axis=-1))
