"""Answers image by image: read off scores of every kind, kept, sorted, compared."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.measure import answers
from pipeline.measure.answers import Answers

LABELS = np.array([0, 1, 2, 1])
SCORES = np.array([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.05, 0.9, 0.05], [0.1, 0.8, 0.1]])


def test_answers_are_the_class_and_two_probabilities() -> None:
    found = Answers.of(LABELS, SCORES)
    assert found.named.tolist() == [0, 0, 1, 1]
    assert found.hits.tolist() == [True, False, False, True]
    np.testing.assert_allclose(found.sure, [0.7, 0.5, 0.9, 0.8], rtol=1e-6)
    np.testing.assert_allclose(found.own, [0.7, 0.4, 0.05, 0.8], rtol=1e-6)
    np.testing.assert_allclose(found.losses, -np.log([0.7, 0.4, 0.05, 0.8]), rtol=1e-6)


def test_scores_of_every_kind_become_probabilities() -> None:
    logits = np.log(SCORES) + 3.0
    np.testing.assert_allclose(answers.probabilities(logits), SCORES, rtol=1e-6)
    np.testing.assert_allclose(answers.probabilities(2 * SCORES), SCORES, rtol=1e-6)
    sigmoids = np.array([[0.9, 0.8], [0.1, 0.3]])
    np.testing.assert_allclose(answers.probabilities(sigmoids), sigmoids)
    one = Answers.of(np.array([1, 0]), np.array([[0.9], [0.2]]))
    np.testing.assert_allclose(one.sure, [0.9, 0.8], rtol=1e-6)


def test_a_score_that_int8_rounds_to_zero_has_a_finite_loss() -> None:
    found = Answers.of(np.array([0, 1]), np.array([[0.0, 1.0], [0.5, 0.5]]))
    assert found.losses[0] == pytest.approx(9 * np.log(2))


def test_the_hardest_images_have_the_highest_loss_and_the_surest_mistakes_are_wrong() -> None:
    found = Answers.of(LABELS, SCORES)
    assert [row["image"] for row in answers.hardest(found, 2)] == [2, 1]
    sure = answers.surest_mistakes(found, 9)
    assert [(row["image"], row["label"], row["named"]) for row in sure] == [(2, 2, 1), (1, 1, 0)]
    assert sure[0]["sure"] == pytest.approx(0.9)


def test_images_that_changed_are_found_the_lost_ones_first() -> None:
    before = Answers.of(LABELS, SCORES)
    swapped = SCORES.copy()
    swapped[0], swapped[1] = [0.1, 0.8, 0.1], [0.3, 0.6, 0.1]  # one lost, one won
    after = Answers.of(LABELS, swapped)
    assert answers.changed(before, after).tolist() == [0, 1]
    assert answers.changed(after, before).tolist() == [1, 0]
    with pytest.raises(ValueError, match="4 and 3 images"):
        answers.changed(before, Answers.of(LABELS[:3], SCORES[:3]))


def test_answers_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert answers.load(tmp_path) is None
    found = Answers.of(LABELS, SCORES)
    found.save(tmp_path)
    again = answers.load(tmp_path)
    assert again is not None
    for name in ("labels", "named", "sure", "own"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
