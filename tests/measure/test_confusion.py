"""The table of classes and answers, and the scores of each class, against scikit-learn."""

import numpy as np
from sklearn import metrics

from pipeline.measure import confusion

RNG = np.random.default_rng(0)
LABELS, NAMED = RNG.integers(0, 5, 300), RNG.integers(0, 5, 300)
NAMES = list("abcde")


def test_the_table_is_that_of_scikit_learn_and_survives_being_sparse() -> None:
    counts = confusion.table(LABELS, NAMED, 5)
    np.testing.assert_array_equal(counts, metrics.confusion_matrix(LABELS, NAMED))
    np.testing.assert_array_equal(confusion.dense(confusion.sparse(counts), 5), counts)


def test_the_scores_of_each_class_are_those_of_scikit_learn() -> None:
    rows = confusion.per_class(confusion.table(LABELS, NAMED, 5), NAMES)
    precision, recall, f1, images = metrics.precision_recall_fscore_support(LABELS, NAMED)
    np.testing.assert_allclose([row["precision"] for row in rows], precision)
    np.testing.assert_allclose([row["test_accuracy"] for row in rows], recall)
    np.testing.assert_allclose([row["f1"] for row in rows], f1)
    assert [row["test_images"] for row in rows] == images.tolist()


def test_what_nothing_is_known_of_has_no_score() -> None:
    rows = confusion.per_class(confusion.table(np.array([0, 0]), np.array([0, 1]), 3), NAMES[:3])
    assert [row["test_accuracy"] for row in rows] == [0.5, None, None]
    assert [row["precision"] for row in rows] == [1.0, 0.0, None]
    assert [row["f1"] for row in rows] == [2 / 3, 0.0, None]


def test_the_most_frequent_mistake_comes_first() -> None:
    counts = confusion.table(np.array([0, 0, 1, 1, 1, 2]), np.array([0, 2, 2, 2, 1, 0]), 3)
    assert confusion.mistakes(counts) == [(1, 2, 2), (0, 2, 1), (2, 0, 1)]
