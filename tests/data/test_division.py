"""Division of a data set: sizes, shares of the classes, and what is too small to divide."""

import numpy as np
import pytest

from pipeline.data.division import divide as division
from pipeline.errors import DataError


def divide(
    labels: list[int], seed: int = 0, val_fraction: float = 0.15, test_fraction: float = 0.2
) -> dict[str, np.ndarray]:
    names = tuple(str(label) for label in range(max(labels) + 1))
    fractions = {"test": test_fraction, "val": val_fraction}
    return division(np.array(labels, np.int32), names, {}, fractions, seed, "toys")


def test_parts_are_disjoint_sorted_and_complete() -> None:
    parts = divide([0, 1, 2] * 40)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(120))
    assert all((np.diff(rows) > 0).all() for rows in parts.values())


def test_parts_have_the_size_asked_for() -> None:
    parts = divide([0] * 333 + [1] * 667, val_fraction=0.15, test_fraction=0.2)
    assert {part: len(rows) for part, rows in parts.items()} == {
        "train": 650,
        "val": 150,
        "test": 200,
    }


def test_small_equal_classes_do_not_distort_the_size() -> None:
    labels = list(range(100)) * 10  # 1.5 images of each class: rounding each would give 200
    assert len(divide(labels, val_fraction=0.15)["val"]) == 150


def test_classes_keep_their_shares() -> None:
    labels = np.array([0] * 700 + [1] * 200 + [2] * 100)
    for rows in divide(labels.tolist()).values():
        shares = np.bincount(labels[rows]) / len(rows)
        np.testing.assert_allclose(shares, [0.7, 0.2, 0.1], atol=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_every_part_has_every_class_of_three_images_or_more(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(30), rng.integers(3, 12, 30))
    fractions = {"val_fraction": rng.uniform(0.01, 0.49), "test_fraction": rng.uniform(0.01, 0.5)}
    for rows in divide(labels.tolist(), seed, **fractions).values():
        assert set(labels[rows]) == set(range(30))


def test_a_class_too_small_to_divide_is_named() -> None:
    with pytest.raises(DataError, match=r"images=\{'1': 2\}. Give at least 3 of each class"):
        divide([0] * 10 + [1] * 2)


def test_a_single_class_is_refused() -> None:
    with pytest.raises(DataError, match="classes=1"):
        divide([0] * 10)


def test_the_seed_decides_the_parts() -> None:
    labels = [0, 1] * 50
    first, again, other = divide(labels, 1), divide(labels, 1), divide(labels, 2)
    assert all((first[part] == again[part]).all() for part in first)
    assert any(not np.array_equal(first[part], other[part]) for part in first)
