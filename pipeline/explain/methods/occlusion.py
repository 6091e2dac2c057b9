"""Occlusion: how much the score of the class falls where a patch of the mean colour is laid.

Every pixel has the mean fall over the patches that cover it; patches overlap by half.

Source:  Zeiler & Fergus 2014, section 4.2, https://arxiv.org/abs/1311.2901.
"""

import numpy as np

from pipeline.explain.subject import Floats, Image, Subject

TITLE = "Occlusion"
PARTS = 6  # sides of a patch that fit along the shorter side of the image


def needs(subject: Subject) -> str | None:
    """It needs scores alone."""
    return None


def heat(subject: Subject, image: Image, k: int) -> Floats:
    """As the module says, `[H, W]`."""
    height, width = image.shape[:2]
    side = max(2, min(height, width) // PARTS)
    corners = [(top, left) for top in _starts(height, side) for left in _starts(width, side)]
    covered = np.repeat(np.asarray(image)[None], len(corners) + 1, axis=0).astype(np.float32)
    mean = np.asarray(image, np.float32).mean(axis=(0, 1))
    for one, (top, left) in zip(covered[1:], corners, strict=True):
        one[top : top + side, left : left + side] = mean
    scores = subject.scores(covered)[:, k]
    fall, times = np.zeros((height, width)), np.zeros((height, width))
    for score, (top, left) in zip(scores[1:], corners, strict=True):
        place = np.s_[top : top + side, left : left + side]
        fall[place] += scores[0] - score
        times[place] += 1
    return np.asarray(np.maximum(fall / np.maximum(times, 1), 0))


def _starts(length: int, side: int) -> list[int]:
    """Where patches begin: half a side apart, the last one at the end."""
    return sorted({*range(0, length - side + 1, max(1, side // 2)), length - side})
