"""Whether a classifier is as often right as it says: reliability, temperature, and a threshold.

Source:  Guo et al. 2017, https://arxiv.org/abs/1706.04599 (reliability, expected calibration
         error, temperature); Hendrycks & Gimpel 2017, https://arxiv.org/abs/1610.02136 (the highest
         score tells images of no class).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.graph import scores as score
from pipeline.measure.answers import LEAST, probabilities
from pipeline.measured import BinRow, Unknown
from pipeline.objective import Labels

BINS = 15
KEPT = 0.95  # share of images of known classes that the threshold keeps
COLDEST, HOTTEST = 0.05, 20.0  # temperatures that are tried
SMALLEST = 1e-12  # avoids the logarithm of zero

Floats = npt.NDArray[np.floating[Any]]


def reliability(sure: Floats, hits: npt.NDArray[np.bool_], bins: int = BINS) -> list[BinRow]:
    """Accuracy by how sure the answers were, in bins of equal width; empty ones are left out.

    Args:
        sure: Probability of the class that was named, `[N]` in 0..1.
        hits: Whether it is the true one, `[N]`.
        bins: Number of bins; the upper end belongs to a bin, the lower one does not.
    """
    places = np.clip(np.ceil(sure.astype(np.float64) * bins).astype(int) - 1, 0, bins - 1)
    return [
        {
            "low": k / bins,
            "high": (k + 1) / bins,
            "images": int(own.sum()),
            "sure": float(sure[own].mean()),
            "accuracy": float(hits[own].mean()),
        }
        for k in range(bins)
        if (own := places == k).any()
    ]


def expected_error(rows: list[BinRow]) -> float:
    """Expected calibration error: `sum_b n_b / N |accuracy_b - sure_b|`, 0..1."""
    images = sum(row["images"] for row in rows)
    return sum(row["images"] * abs(row["accuracy"] - row["sure"]) for row in rows) / images


def tempered(scores: score.Scores, temperature: float) -> Floats:
    """Probabilities `[N, K]` at another temperature `T`; the named classes stay.

    `p_i^(1 / T) / sum_k p_k^(1 / T)`, which is the softmax of logits divided by `T`; independent
    scores become `p^(1 / T) / (p^(1 / T) + (1 - p)^(1 / T))`. A score of 0, as int8 rounds small
    ones, counts as half of the least other one.

    >>> tempered(np.array([[0.8, 0.2], [0.5, 0.5]]), 2.0).round(3).tolist()
    [[0.667, 0.333], [0.5, 0.5]]
    """
    found = probabilities(scores).astype(np.float64)
    least = min(LEAST, found[found > 0].min(initial=1.0) / 2)
    found = np.clip(found, least, 1 - least)
    powers = found ** (1 / temperature)
    if score.kind(scores) in score.INDEPENDENT:
        return np.asarray(powers / (powers + (1 - found) ** (1 / temperature)))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def temperature(labels: Labels, scores: score.Scores) -> float:
    """The temperature at which the true classes are most likely: least mean cross-entropy.

    Args:
        labels: Of images that the network was not trained on, `[N]`.
        scores: What it gives for them, `[N, K]`.
    """
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(labels))

    def loss(logarithm: float) -> float:
        made = tempered(scores, float(np.exp(logarithm)))
        return float(-np.log(np.maximum(made[rows, labels], SMALLEST)).mean())

    ends = float(np.log(COLDEST)), float(np.log(HOTTEST))
    return float(np.exp(minimize_scalar(loss, bounds=ends, method="bounded").x))


def threshold(val: Floats, test: Floats) -> Unknown:
    """Below which highest score an app should say "I do not know": 95% of known images stay above.

    Args:
        val: Probability of the class that was named, for val images `[N]`: these decide.
        test: The same for test images, on which the share that is kept is measured.
    """
    least = float(np.quantile(val, 1 - KEPT, method="lower"))
    return {"threshold": least, "kept": float(np.mean(test >= least))}
