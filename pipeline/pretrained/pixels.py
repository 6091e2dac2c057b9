"""Find out which pixels a trained network takes, by what it makes of images."""

import logging
from collections.abc import Callable
from typing import Any, get_args

import numpy as np

from pipeline import data, measure, training
from pipeline.data import Dataset, Split
from pipeline.pretrained.adaptation import Pixels

SAMPLE = 1000  # val images, as many of each class
log = logging.getLogger("flopsmith")


def recognized(adapted: Callable[[Pixels], Any], dataset: Dataset, name: str) -> Any:
    """Adapt a network to the pixels with which it classifies most val images.

    Of equals, and of a network that does no better than guessing with any, 0..255.

    Args:
        adapted: Makes a model of 0..255 of one that takes the given pixels.
        dataset: A sample of its val part decides.
        name: Of the network, for what is told.
    """
    images, labels = data.batch(dataset.val, SAMPLE, seed=0)
    sample = Split(images, labels, np.arange(len(images)))
    made = {pixels: adapted(pixels) for pixels in get_args(Pixels)}
    found = {pixels: measure.keras_hits(model, sample).mean() for pixels, model in made.items()}
    best = max(found, key=lambda pixels: found[pixels])
    if found[best] <= training.chance(sample):
        best = get_args(Pixels)[0]
        log.warning(
            "load: %s does no better than guessing; it is given pixels 0..255. If its classes are "
            "others than %s, in this order, set load.head=new; if it takes other pixels, put a "
            "Rescaling layer in front",
            *(name, ", ".join(dataset.class_names[:5])),
        )
    told = (name, 100 * found[best], len(images), best)
    log.info("load: %s classifies %.1f%% of %d val images right with pixels %s", *told)
    return made[best]
