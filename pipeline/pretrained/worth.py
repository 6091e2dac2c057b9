"""Notice that a trained network is below its worth: on these images it is not what it could be.

A trained network knows roughly how often it is right: its highest score is, on average, the
fraction of images that it classifies correctly. If far fewer are right, even of those that it was
trained on, it is shown something else than what it was trained on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.pretrained import class_order
from pipeline.pretrained.presentation import Found, Shown

FAR = 0.25  # what scores may claim above the accuracy before the network is refused
WIDE = 0.1  # the same before there is a warning
CERTAIN = 3.0  # standard deviations that separate a difference from chance
FEW = 30  # train images below this say nothing of how well those were learned


@dataclass(frozen=True)
class Claim:
    """What the scores of a network claim of some images, and what is right."""

    accuracy: float
    confidence: float  # mean of the highest score of each image
    images: int

    @classmethod
    def of(cls, one: Shown, rows: slice) -> "Claim":
        """Of some rows of a sample."""
        hits, highest = one.hits[rows], one.scores[rows].max(axis=-1)
        return cls(float(hits.mean()), float(highest.mean()), len(hits))

    @property
    def gap(self) -> float:
        """How much more is claimed than is right, as far as chance does not explain it."""
        spread = max(p * (1 - p) for p in (self.accuracy, self.confidence))
        gap = self.confidence - self.accuracy
        return gap if gap > CERTAIN * np.sqrt(spread / self.images) + 1 / self.images else 0.0


@dataclass(frozen=True)
class Doubt:
    """Why a network is below its worth."""

    text: str
    stops: bool  # whether nothing should be made of it without being asked
    order: class_order.Order | None = None  # of its classes, if that is what is wrong


def doubt(found: Found, class_names: Sequence[str]) -> Doubt | None:
    """Say what is wrong with a network on these images; None where nothing is.

    Args:
        found: The best way of showing it pictures.
        class_names: Of the data.
    """
    best, val = found.best, found.best.sample.val
    claim = Claim.of(best, slice(None, val))
    tried = f"Tried: {found.told()}"
    if other := class_order.order(best.classes, best.sample.labels, class_names):
        return Doubt(other.told(), stops=True, order=other)
    said = f"{100 * claim.accuracy:.1f}% of {claim.images} val images are right"
    if best.guesses:
        return Doubt(
            f"it does no better than guessing; it is given pixels {best.way}: {said}. {tried}",
            stops=True,
        )
    learned = Claim.of(best, slice(val, None)) if len(best.hits) - val >= FEW else claim
    claimed = f"{said}, while its scores claim {100 * claim.confidence:.0f}%"
    if min(claim.gap, learned.gap) > FAR:
        return Doubt(f"it is far below what its own scores claim: {claimed}. {tried}", stops=True)
    if claim.gap > WIDE:
        again = f"; of {learned.images} train images {100 * learned.accuracy:.1f}%"
        return Doubt(f"it is surer than it should be: {claimed}{again}. {tried}", stops=False)
    return None
