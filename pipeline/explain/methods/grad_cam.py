"""Grad-CAM: the last features with places, weighted with the mean gradient of the logit by each.

`relu(sum_c a_c F_c)` with `a_c` the mean of the gradient by feature `c` over all places; enlarged
to the size of the image.

Source:  Selvaraju et al. 2017, equations 1 and 2, https://arxiv.org/abs/1610.02391.
"""

import numpy as np

from pipeline.explain import gradients, picture
from pipeline.explain.subject import Floats, Image, Subject

TITLE = "Grad-CAM"


def needs(subject: Subject) -> str | None:
    """It needs gradients, and features that still have places."""
    return None if subject.model is not None else gradients.WHY_NOT


def heat(subject: Subject, image: Image, k: int) -> Floats:
    """As the module says, `[H, W]`."""
    found = gradients.of_features(subject.model, image, k)  # type: ignore[arg-type]
    if found is None:
        return np.zeros(image.shape[:2], np.float32)
    features, slopes = found
    weights = slopes.mean(axis=(0, 1))
    return picture.enlarged(np.maximum(features @ weights, 0), image.shape[:2])
