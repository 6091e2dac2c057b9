"""The loss against a teacher, for every pair of kinds of scores."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.train import distillation

IMAGES = np.random.default_rng(0).uniform(-1, 1, (6, 5)).astype(np.float32)
T = 3.0


def teacher(kind: str, units: int) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,))
    z = layers.Dense(units)(inputs)
    end = layers.Softmax() if kind == "softmax" else layers.Activation("sigmoid")
    return keras.Model(inputs, end(z))


def logits(model: keras.Model) -> np.ndarray:
    return np.asarray(keras.Model(model.inputs, model.layers[-2].output)(IMAGES))


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def binary(given: np.ndarray, own: np.ndarray) -> float:
    """T^2 KL of the probabilities at temperature T, summed over the classes."""
    p, q = sigmoid(given / T), sigmoid(own / T)
    apart = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    return float(T * T * np.mean(apart.sum(axis=-1)))


def loss(model: keras.Model, kind: Any, scores: np.ndarray, from_logits: bool = True) -> float:
    return float(distillation.loss(model, T, kind, from_logits)(IMAGES, scores))


def own(units: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(6, units)).astype(np.float32)


def test_independent_scores_are_compared_class_by_class() -> None:
    model, z = teacher("sigmoids", 4), own(4)
    assert loss(model, "sigmoids", z) == pytest.approx(binary(logits(model), z), rel=1e-4)
    found = loss(model, "sigmoids", sigmoid(z), from_logits=False)
    assert found == pytest.approx(binary(logits(model), z), rel=1e-3)


@pytest.mark.parametrize("kind", ["softmax", "sigmoids", "sigmoid"])
@pytest.mark.parametrize("wanted", ["softmax", "sigmoids", "sigmoid"])
def test_two_classes_may_be_taught_by_any_kind(kind: str, wanted: Any) -> None:
    """One output is worth what two are, and a network that agrees with its teacher pays nothing."""
    model = teacher(kind, 1 if kind == "sigmoid" else 2)
    scores = np.asarray(model(IMAGES))
    if kind == "sigmoid":
        scores = np.concatenate([1 - scores, scores], axis=-1)
    logs = np.log(scores)
    same = {
        "softmax": logs,
        "sigmoids": logs - np.log(1 - scores),
        "sigmoid": logs[:, 1:] - logs[:, :1],
    }[wanted]
    assert loss(model, wanted, same) == pytest.approx(0, abs=1e-5)
    assert loss(model, wanted, same + np.float32([[1.0, -1.0]])[:, : same.shape[1]]) > 0.01


def test_one_output_costs_what_two_do() -> None:
    z = own(1)
    for model in (teacher("sigmoid", 1), teacher("softmax", 2)):
        two = loss(model, "softmax", np.concatenate([0 * z, z], axis=-1))
        assert loss(model, "sigmoid", z) == pytest.approx(two, rel=1e-3)
