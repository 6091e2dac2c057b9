"""Labels in the forms that people keep them in become 0..K-1 with names, and it is said."""

from typing import Any

import numpy as np
import pytest

from pipeline.data import labels
from pipeline.errors import DataError

NUMBERS = [0, 1, 2, 0, 1, 2]


def numbered(
    train: Any, test: Any = None, names: Any = None
) -> tuple[list[list[int]], tuple[str, ...], str]:
    notes: list[str] = []
    given = {"y_train": np.asarray(train)}
    if test is not None:
        given["y_test"] = np.asarray(test)
    made, class_names = labels.numbered(given, names, "a.npz", notes)
    assert all(part.dtype == np.int32 for part in made)
    return [part.tolist() for part in made], class_names, "; ".join(notes)


def refused(train: Any, test: Any = None, names: Any = None) -> str:
    with pytest.raises(DataError) as caught:
        numbered(train, test, names)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (NUMBERS, ""),
        (np.array(NUMBERS, np.uint8)[:, None], ""),
        (np.eye(3)[NUMBERS], ""),
        (np.eye(3, dtype=bool)[NUMBERS], ""),
        (np.array(NUMBERS, float), "labels are float64, all whole numbers"),
        (np.array(NUMBERS, object), ""),
        (np.array(NUMBERS, np.float32)[:, None], "float32"),
    ],
)
def test_numbers_stay_what_they_are(given: Any, said: str) -> None:
    made, names, notes = numbered(given)
    assert (made, names) == ([NUMBERS], ("0", "1", "2"))
    assert said in notes
    assert bool(notes) == bool(said)


@pytest.mark.parametrize("kind", ["U", "S", object])
def test_text_names_the_classes_in_order_of_the_names(kind: Any) -> None:
    words = np.array(["dog", "ant", "cow", "ant"]).astype(kind)
    made, names, notes = numbered(words, words[:2])
    assert made == [[2, 0, 1, 0], [2, 0]]
    assert names == ("ant", "cow", "dog")
    assert "labels are text, which names 3 classes, sorted by name" in notes


def test_text_of_numbers_is_sorted_by_value() -> None:
    made, names, notes = numbered([str(n) for n in range(12)])
    assert made == [list(range(12))]
    assert names == tuple(str(n) for n in range(12))
    assert "sorted by value" in notes


def test_text_follows_the_order_of_given_names() -> None:
    made, names, _ = numbered(["a", "b", "c"], None, np.array(["c", "a", "b"]))
    assert (made, names) == ([[1, 2, 0]], ("c", "a", "b"))


def test_true_and_false_are_two_classes() -> None:
    made, names, notes = numbered([True, False, True])
    assert (made, names) == ([[1, 0, 1]], ("0", "1"))
    assert "false and true" in notes


@pytest.mark.parametrize("given", [None, ["ant", "bee", "cow"]])
def test_labels_from_one_are_moved(given: list[str] | None) -> None:
    made, names, notes = numbered([1, 2, 3, 1], [3], given)
    assert made == [[0, 1, 2, 0], [2]]
    assert names == tuple(given or ["1", "2", "3"])
    assert "labels 1 to 3 become 0 to 2" in notes


def test_gaps_keep_the_numbers_as_names() -> None:
    made, names, notes = numbered([0, 4, 9], [4])
    assert (made, names) == ([[0, 1, 2], [1]], ("0", "4", "9"))
    assert "missing=[1, 2, 3, 5, 6, 7, 8]" in notes


def test_a_huge_label_does_not_take_memory() -> None:
    assert numbered([0, 2**31 - 1])[1] == ("0", "2147483647")


@pytest.mark.parametrize(
    ("train", "test", "names", "what"),
    [
        (["a", "b"], [0, 1], None, "labels of the kind of y_test"),
        ([0, 1], [0, 2], None, "labels=[2]"),
        (["a", "b"], ["c"], None, "labels=['c']"),
        ([-1, 1], None, None, "smallest=-1"),
        ([0.5, 1], None, None, "does not hold labels"),
        ([[1, 1], [0, 1]], None, None, "one-hot rows"),
        (np.array(["a", None], object), None, None, "does not hold labels"),
        (np.array(["a", 1], object), None, None, "does not hold labels"),
        ([0, 1, 2], None, ["a", "b"], "classes=2"),
        ([0, 1], None, ["a", "b", "c"], "missing=[2]"),
        ([1, 2], None, ["none", "a", "b"], "missing=[0]"),
        (["a", "b"], None, ["a", "x"], "only in one of them=['b', 'x']"),
    ],
)
def test_what_is_not_clear_is_refused(train: Any, test: Any, names: Any, what: str) -> None:
    assert what in refused(train, test, names)
