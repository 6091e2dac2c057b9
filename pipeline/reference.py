"""What the models of a run are compared with, and whether one has fallen too far below it.

A model that was given counts as it came, at its own input; a model that the run has trained, as it
was when compression began. Val accuracy decides; a test accuracy counts where chance alone does not
explain how much lower it is.
"""

import logging
from collections.abc import Sequence

import numpy as np

from pipeline import guardrail
from pipeline.artifact import Artifact
from pipeline.data.datasets import Dataset

CERTAIN = 2.0  # standard deviations between two test accuracies that differ not by chance
log = logging.getLogger("flopsmith")


def given(finished: Sequence[Artifact]) -> Artifact | None:
    """The stage that loaded a trained model with its head, if one did."""
    return next((a for a in finished if a.details.pretrained and a.details.new_layers == []), None)


def accuracy(made: Artifact, part: str = "val") -> float:
    """Val or test accuracy of a model; of one that was given, at its own input."""
    key = f"{part}_accuracy"
    return float((made.details.given or made.metrics)[key])  # type: ignore[literal-required]


def least(start: Artifact, finished: Sequence[Artifact]) -> float:
    """Val accuracy that compression is measured by: that of its start, or what was given."""
    own = given(finished)
    return max(accuracy(start), accuracy(own) if own else 0.0)


def noted(
    done: Artifact,
    finished: Sequence[Artifact],
    start: Artifact | None,
    allowed: float,
    dataset: Dataset,
) -> Artifact:
    """Note and log in what a model has fallen too far below those that it was made from.

    Args:
        done: With its accuracies.
        finished: The stages before it.
        start: What compression started from; None: it has not started.
        allowed: The fraction of val accuracy that may be lost.
        dataset: The images that accuracies were measured on.

    Returns:
        The artifact with its `shortfall`, saved if that has changed.
    """
    references = [one for one in (given(finished), start) if one is not None]
    images = len(dataset.val), len(dataset.test)
    told = [said for one in references if (said := shortfall(one, done, allowed, *images))]
    if told:
        log.warning("%s: %s", done.stage, told[0])
    if (told[0] if told else None) == done.details.shortfall:
        return done
    done = done.telling(shortfall=told[0] if told else None)
    done.save()
    return done


def shortfall(
    reference: Artifact, done: Artifact, allowed: float, val_images: int, test_images: int
) -> str | None:
    """Say how far accuracy is below that of a reference, if it is further than allowed."""
    name = reference.stage
    if own := reference.details.given:
        name += f" (the model given, at its own {'x'.join(map(str, own['image_shape']))})"
    before, after = accuracy(reference), done.metrics["val_accuracy"]
    if after < guardrail.floor(before, allowed, val_images, 1.0) - guardrail.ROUNDING:
        return (
            f"val accuracy is {before - after:.4f} below that of {name}, more than "
            f"max_accuracy_drop={allowed:g}"
        )
    if "test_accuracy" not in done.metrics or "test_accuracy" not in reference.metrics:
        return None
    before, after = accuracy(reference, "test"), done.metrics["test_accuracy"]
    spread = np.sqrt((before * (1 - before) + after * (1 - after)) / test_images)
    if before - after > allowed + CERTAIN * spread:
        return (
            f"test accuracy is {before - after:.4f} below that of {name}, more than "
            f"max_accuracy_drop={allowed:g} and chance explain"
        )
    return None
