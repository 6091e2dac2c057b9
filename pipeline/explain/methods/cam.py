"""Class activation map: the features before global average pooling, weighted as the class weighs
their means.

`relu(sum_c w_ck F_c)`; needs no gradients, so it explains a `.tflite` file as well.

Source:  Zhou et al. 2016, section 2, https://arxiv.org/abs/1512.04150.
"""

import numpy as np

from pipeline.explain import picture
from pipeline.explain.subject import Floats, Image, Subject

TITLE = "Class activation map"


def needs(subject: Subject) -> str | None:
    """It needs a dense layer on the mean of the features over all places."""
    sample = np.zeros(subject.shape, np.uint8)
    if subject.features(sample) is None:
        return "its scores are not made by one dense layer from features averaged over all places"
    return None


def heat(subject: Subject, image: Image, k: int) -> Floats:
    """As the module says, `[H, W]`."""
    found = subject.features(image)
    if found is None:
        return np.zeros(image.shape[:2], np.float32)
    features, head = found
    weights = head.weights
    own = weights[:, k] if weights.shape[1] > 1 else weights[:, 0] * (1 if k else -1)
    return picture.enlarged(np.maximum(features @ own, 0), image.shape[:2])
