"""Another order of the classes: found where it explains the outputs, and nowhere else."""

import numpy as np
import pytest

from pipeline.pretrained import class_order

NUMBERS = tuple(sorted(map(str, range(12))))  # 0, 1, 10, 11, 2 ...
LETTERS = tuple("abcdefghij")


def outputs(labels: np.ndarray, order: list[int], right: float, classes: int) -> np.ndarray:
    """Outputs of a network whose classes are in another order, some of them wrong."""
    rng = np.random.default_rng(1)
    own = np.argsort(order)[labels]
    wrong = rng.random(len(labels)) > right
    return np.where(wrong, rng.integers(0, classes, len(labels)), own)


def labels(count: int, classes: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, classes, count)


def test_numbers_that_were_sorted_as_text_are_named() -> None:
    truth = labels(160, 12)
    order = [NUMBERS.index(str(n)) for n in range(12)]
    found = class_order.order(outputs(truth, order, 0.93, 12), truth, NUMBERS)
    assert found is not None
    assert (found.names, found.how) == (tuple(map(str, range(12))), "sorted by number")
    assert found.after > 0.9
    assert "output 2 means '2', not '10', and so on for 10 of 12 classes" in found.told()
    assert "sorted by number: 0, 1, 2, 3, 4, 5, ..." in found.told()


def test_the_order_of_file_systems_without_capital_letters_is_named() -> None:
    names = ("Zebra", "ant", "bee")
    truth = labels(60, 3)
    found = class_order.order(outputs(truth, [1, 2, 0], 0.9, 3), truth, names)
    assert found is not None
    assert (found.names, found.how) == (("ant", "bee", "Zebra"),
                                        "sorted regardless of capital letters")  # fmt: skip


def test_any_other_order_is_found_in_the_confusion() -> None:
    truth, order = labels(200, 10), [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    found = class_order.order(outputs(truth, order, 0.9, 10), truth, LETTERS)
    assert found is not None
    assert found.names == tuple(LETTERS[at] for at in order)
    assert (found.how, found.doubtful) == (None, ())
    np.testing.assert_array_equal(found.numbered(np.array(order)), np.arange(10))


def test_two_classes_that_are_swapped_are_found() -> None:
    truth, order = labels(200, 10), [0, 1, 7, 3, 4, 5, 6, 2, 8, 9]
    found = class_order.order(outputs(truth, order, 0.9, 10), truth, LETTERS)
    assert found is not None
    assert found.names == tuple("abhdefgcij")
    assert "output 2 means 'h', not 'c', and so on for 2 of 10 classes" in found.told()


def test_two_classes_alone_that_are_swapped_are_found() -> None:
    truth = labels(40, 2)
    found = class_order.order(1 - truth, truth, ("no", "yes"))
    assert found is not None
    assert (found.names, found.before, found.after) == (("yes", "no"), 0.0, 1.0)


def test_classes_of_which_hardly_any_image_tells_are_in_doubt() -> None:
    truth = np.concatenate([np.repeat(np.arange(8), 12), [8]])
    own = np.argsort([1, 2, 3, 4, 5, 6, 7, 8, 0, 9])
    found = class_order.order(own[truth], truth, LETTERS)
    assert found is not None
    assert "i" in found.doubtful
    assert not {*"abcdefg"} & {*found.doubtful}


@pytest.mark.parametrize("right", [1.0, 0.9, 0.6, 0.3])
@pytest.mark.parametrize(("count", "classes"), [(30, 10), (200, 10), (100, 40), (12, 2)])
def test_a_network_in_the_order_of_the_data_is_left_in_it(
    right: float, count: int, classes: int
) -> None:
    truth = labels(count, classes)
    names = tuple(f"{n:02d}" for n in range(classes))
    seen = outputs(truth, list(range(classes)), right, classes)
    assert class_order.order(seen, truth, names) is None


@pytest.mark.parametrize(("count", "classes"), [(20, 10), (100, 100), (400, 12), (60, 2)])
def test_guesses_have_no_order(count: int, classes: int) -> None:
    truth = labels(count, classes)
    names = tuple(map(str, range(classes)))
    guesses = np.random.default_rng(5).integers(0, classes, count)
    assert class_order.order(guesses, truth, tuple(sorted(names))) is None
    assert class_order.order(np.zeros(count, np.int64), truth, tuple(sorted(names))) is None
