"""What scores mean: the class of an image, a probability for each class, and their kind."""

import numpy as np
import pytest

from pipeline.graph import scores as score

MANY = np.array([[0.2, 0.8, 0.0], [0.7, 0.1, 0.2]])
ONE = np.array([[0.9], [0.2], [0.5]])


def test_the_class_is_that_of_the_highest_score() -> None:
    np.testing.assert_array_equal(score.classes(MANY), [1, 0])


def test_one_output_above_a_half_is_the_second_class() -> None:
    np.testing.assert_array_equal(score.classes(ONE), [1, 0, 0])
    np.testing.assert_array_equal(score.classes(ONE), np.argmax(score.each(ONE), axis=-1))


def test_one_output_becomes_two_probabilities_and_more_stay() -> None:
    np.testing.assert_allclose(score.each(ONE), [[0.1, 0.9], [0.8, 0.2], [0.5, 0.5]])
    assert score.each(MANY) is MANY


def test_shares_sum_to_one_whatever_the_scores_do() -> None:
    np.testing.assert_array_equal(score.shares(MANY), MANY)
    np.testing.assert_allclose(
        score.shares(np.array([[1.0, 1.0], [0.0, 0.5]])), [[0.5, 0.5], [0, 1]]
    )
    assert np.all(np.isfinite(score.shares(np.zeros((1, 3)))))


@pytest.mark.parametrize(("outputs", "classes"), [(3, 3), (2, 2), (1, 2), (1, 1)])
def test_so_many_outputs_tell_so_many_classes_apart(outputs: int, classes: int) -> None:
    assert score.fit(outputs, classes)
    assert not score.fit(outputs, classes + 2)
    assert not score.fit(outputs + 3, classes)


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        (MANY, "softmax"),
        (2 * MANY, "shares"),
        ([[0.2, 0.8], [0.7, 0.9]], "sigmoids"),
        (ONE, "sigmoid"),
        ([[0.2, 1.8], [0.7, 0.9]], "logits"),
        ([[-0.2, 1.2], [0.3, 0.7]], "logits"),
        ([[3.0], [0.2]], "logits"),
        ([[0.0, 0.0], [0.0, 0.0]], "sigmoids"),
        ([[np.nan, np.nan], [0.4, 0.6]], "softmax"),
        ([[np.nan, np.nan]], "logits"),
    ],
)
def test_the_kind_is_judged_by_values(rows: object, kind: str) -> None:
    assert score.kind(np.array(rows, np.float32)) == kind


def test_rounding_to_bytes_does_not_change_the_kind() -> None:
    logits = 3 * np.random.default_rng(0).normal(size=(20, 10))
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    rounded = np.round(shares * 256) / 256
    assert score.kind(rounded) == "sigmoids"
    assert score.kind(rounded, 0.001 + 5 / 256) == "softmax"
    alone = np.round(256 / (1 + np.exp(-logits))) / 256
    assert score.kind(alone, 0.001 + 5 / 256) == "sigmoids"


def test_every_kind_has_its_words() -> None:
    assert score.text("softmax", ("cat", "dog")) == "probability of each class"
    words = score.text("sigmoid", ("cat", "dog"))
    assert words == "probability of class 'dog'; that of 'cat' is one minus it"
    assert all("do not sum to one" in score.text(kind, ()) for kind in ("shares", "sigmoids"))
