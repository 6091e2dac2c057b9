"""The four scores: the numbers of scikit-learn, and what becomes of classes without images."""

import numpy as np
import pytest
from sklearn import metrics

from pipeline import objective

RNG = np.random.default_rng(0)
LABELS = RNG.choice(4, 300, p=[0.6, 0.25, 0.1, 0.05])
LOGITS = RNG.normal(size=(300, 4)) + 1.5 * np.eye(4)[LABELS]
SHARES = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
FOUND = SHARES.argmax(axis=1)
KNOWN = {
    "accuracy": metrics.accuracy_score(LABELS, FOUND),
    "balanced_accuracy": metrics.balanced_accuracy_score(LABELS, FOUND),
    "macro_f1": metrics.f1_score(LABELS, FOUND, average="macro"),
    "auc": metrics.roc_auc_score(LABELS, SHARES, multi_class="ovr", average="macro"),
}


@pytest.mark.parametrize("name", objective.NAMES)
@pytest.mark.parametrize("scores", [SHARES, LOGITS], ids=["probabilities", "logits"])
def test_a_score_is_that_of_scikit_learn(name: objective.Objective, scores: np.ndarray) -> None:
    assert objective.measured(name, LABELS, scores) == pytest.approx(KNOWN[name], abs=1e-12)


@pytest.mark.parametrize("name", objective.NAMES)
def test_one_output_scores_as_the_two_that_it_stands_for(name: objective.Objective) -> None:
    labels, one = LABELS > 0, RNG.random((300, 1))
    labels = labels.astype(int)
    two = np.hstack([1 - one, one])
    assert objective.measured(name, labels, one) == objective.measured(name, labels, two)


def test_independent_scores_of_classes_are_compared_as_they_are() -> None:
    sigmoids = 1 / (1 + np.exp(-LOGITS))
    each = [metrics.roc_auc_score(k == LABELS, sigmoids[:, k]) for k in range(4)]
    assert objective.measured("auc", LABELS, sigmoids) == pytest.approx(np.mean(each))


@pytest.mark.parametrize("name", ["balanced_accuracy", "macro_f1", "auc"])
def test_a_class_without_images_is_left_out_of_the_mean(name: objective.Objective) -> None:
    # class 1 has no image, and one of class 0 is taken for it
    labels = np.array([0, 0, 2, 2])
    scores = np.eye(3)[[0, 1, 2, 2]]
    expected = {"balanced_accuracy": (1 / 2 + 1) / 2, "macro_f1": (2 / 3 + 1) / 2, "auc": 0.875}
    assert objective.measured(name, labels, scores) == pytest.approx(expected[name])


def test_the_auc_of_one_class_alone_is_that_of_a_guess() -> None:
    assert objective.measured("auc", np.zeros(3, int), np.eye(3)) == 0.5


def test_accuracy_is_not_named_twice() -> None:
    assert list(objective.of_part("val", "accuracy", LABELS, SHARES)) == ["val_accuracy"]
    assert list(objective.of_part("test", "auc", LABELS, SHARES)) == ["test_accuracy", "test_auc"]


@pytest.mark.parametrize("name", objective.NAMES)
def test_always_naming_the_largest_class_is_a_guess(name: objective.Objective) -> None:
    largest = np.eye(4)[np.zeros(300, int)]
    score = objective.measured(name, LABELS, largest)
    assert score <= objective.guessed(name, LABELS) < objective.chance(name, LABELS)


# a floor


@pytest.mark.parametrize(
    ("score", "left", "hopeless"),
    [
        (0.95, 0.5, False),
        (0.90, 0.5, False),
        (0.879, 0.5, False),  # within two standard errors of 0.016
        (0.85, 0.5, True),  # 0.05 are missing of 0.07 that are lost
        (0.85, 0.75, False),
        (0.85, 0.25, True),
    ],
)
def test_what_chance_or_the_epochs_that_are_left_make_good_is_not_hopeless(
    score: float, left: float, hopeless: bool
) -> None:
    goal = objective.Goal(floor=0.90, whole=0.92, images=400)
    assert goal.is_hopeless(score, left) == hopeless


def test_a_large_loss_that_is_allowed_may_be_large_halfway() -> None:
    goal = objective.Goal(floor=0.7, whole=0.9, images=10_000)
    assert not goal.is_hopeless(0.55, left=0.5)  # 0.15 are missing of 0.35 that are lost
    assert goal.is_hopeless(0.45, left=0.5)  # 0.25 of 0.45
