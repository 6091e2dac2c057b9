"""The best linear classifier on features that are fixed, fitted until it no longer changes.

Multinomial logistic regression with an L2 penalty of the standardized features; the strength of
the penalty is chosen on val. How well it does says how much of the classes the features tell, which
a layer after a few updates does not.

Source:  linear probes, Alain & Bengio 2016, https://arxiv.org/abs/1610.01644; the strength chosen
         on val, Kornblith et al. 2019, https://arxiv.org/abs/1805.08974, section A.3.1.
"""

import warnings
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from pipeline.details import Objective
from pipeline.graph.scores import classes
from pipeline.objective import measured

STRENGTHS = tuple(10.0**power for power in (-4, -3.5, -3, -2.5, -2, -1.5, -1, -0.5, 0))  # C
STEPS = 1000  # of L-BFGS at most; a few dozen are enough where the penalty is strong
FLAT = 1e-6  # a feature of a smaller deviation is constant


class Probe(NamedTuple):
    """A linear layer, `scores = features @ kernel + bias`, and how well it does on val."""

    kernel: np.ndarray  # [features, classes]
    bias: np.ndarray  # [classes]
    accuracy: float
    score: float  # the objective


class Sample(NamedTuple):
    """Features of images, `[N, features]`, and their labels, `[N]`."""

    features: np.ndarray
    labels: np.ndarray


def fit(
    train: Sample,
    val: Sample,
    num_classes: int,
    objective: Objective = "accuracy",
    weights: np.ndarray | None = None,
) -> Probe:
    """Fit a layer on `train`, once for each strength of the penalty; return the best on `val`.

    The best has the highest objective, and of equals the lowest cross-entropy. A class without any
    image in `train` gets a score below all others. `weights`, of the classes, count in the fit.
    """
    counted = None if weights is None else weights[train.labels]
    mean, deviation = train.features.mean(axis=0), train.features.std(axis=0)
    scale = np.where(deviation > FLAT, 1 / np.maximum(deviation, FLAT), 0.0)
    inputs, seen = (train.features - mean) * scale, (val.features - mean) * scale
    model = LogisticRegression(max_iter=STEPS, warm_start=True)
    best: tuple[tuple[float, float], np.ndarray, np.ndarray] | None = None
    for strength in STRENGTHS:  # from strong to weak: each begins where the one before ended
        model.set_params(C=strength)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(inputs, train.labels, sample_weight=counted)
        kernel, bias = _layer(model, num_classes)
        rank = _rank(seen @ kernel + bias, val.labels, objective)
        if best is None or rank > best[0]:
            best = rank, kernel, bias
    if best is None:
        raise ValueError("no strength to try")
    (score, _), kernel, bias = best
    accuracy = float(np.mean(classes(seen @ kernel + bias) == val.labels))
    kernel = kernel * scale[:, None]
    return Probe(kernel, bias - mean @ kernel, accuracy, score)


def _layer(model: LogisticRegression, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of a softmax over all classes."""
    weights, offsets = model.coef_.T, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn has one score then, of the second class
        weights, offsets = np.hstack([-weights / 2, weights / 2]), np.r_[-offsets, offsets] / 2
    kernel = np.zeros((weights.shape[0], num_classes))
    bias = np.full(num_classes, float(np.min(offsets)) - 10.0)
    kernel[:, model.classes_], bias[model.classes_] = weights, offsets
    return kernel, bias


def _rank(scores: np.ndarray, labels: np.ndarray, objective: Objective) -> tuple[float, float]:
    """The objective, and minus the mean cross-entropy."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    own = logs[np.arange(len(labels)), labels]
    return measured(objective, labels, np.exp(logs)), float(own.mean())
