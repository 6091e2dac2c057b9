"""How sure a change of accuracy is, where two models answered for the same images."""

import math
from typing import Any

from pipeline.artifact import Artifact
from pipeline.measured import Change

QUANTILE = 1.96  # of the normal distribution, at 97.5%


def paired(found: Change) -> tuple[float, float, float]:
    """The change of test accuracy in points, between the ends of its interval of 95%.

    Of `n` images `w` are won and `l` lost: the standard error of `(w - l) / n` is
    `sqrt(w + l - (w - l)^2 / n) / n`, as in McNemar's test.
    """
    won, lost, images = found["won"], found["lost"], found["images"]
    error = math.sqrt(max(0.0, won + lost - (won - lost) ** 2 / images)) / images
    centre = (won - lost) / images
    low, high = (100 * (centre + sign * QUANTILE * error) for sign in (-1, 1))
    return low, 100 * centre, high


def text(found: Change) -> str:
    """The interval of 95% in words, for the end of a clause."""
    low, _, high = paired(found)
    return f" (95% interval {signed(low, 1)} to {signed(high, 1)})"


def signed(points: float, digits: int = 2) -> str:
    """A change with its sign."""
    return f"{points:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def came(artifact: Artifact) -> dict[str, Any]:
    """The scores of a model as it was given, at its own size of images; else those measured."""
    found: Any = artifact.details.given or artifact.metrics
    return {**found.get("scores", {}), **found}
