"""When an accuracy is that of guessing, and when a model has learned something."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifact import Artifact
from pipeline.data.datasets import Dataset, Split
from pipeline.details import Details, Objective
from pipeline.measure import guessing


def data(squares: Dataset, labels: list[int]) -> Dataset:
    """A data set whose val and test images have these labels."""
    part = Split(np.zeros((len(labels), 4, 4, 1), np.uint8), np.array(labels, np.int32),
                 np.arange(len(labels)))  # fmt: skip
    names = tuple(map(str, range(max(labels) + 1)))
    return replace(squares, class_names=names, val=part, test=part)


def made(val: float, test: float, **details: object) -> Artifact:
    return Artifact(
        stage="finetune",
        fingerprint="",
        directory=Path("01-finetune"),
        metrics={"val_accuracy": val, "test_accuracy": test},
        details=Details(**details),
    )


@pytest.mark.parametrize(
    ("share", "images", "needed"),
    [
        (0.2, 105, 32),  # 300 photographs of five classes: 30.5%
        (0.2, 45, 17),
        (0.2, 1500, 361),  # of many, 1.2 times the largest class
        (0.1, 10_000, 1201),
        (0.95, 200_000, 190_501),  # of very unequal classes, a twentieth of what is left
        (0.5, 16, 14),
        (0.5, 4, 4),  # all of so few could be luck, but more there cannot be
        (0.001, 5000, 12),
    ],
)
def test_what_luck_explains_is_guessing(share: float, images: int, needed: int) -> None:
    assert guessing.least_hits(share, images) == needed


def test_a_model_is_judged_by_its_val_and_test_images_together(squares: Dataset) -> None:
    five = data(squares, [0, 1, 2, 3, 4] * 10)
    found = guessing.judged(made(0.22, 0.24), five)
    assert found == {
        **{"hits": 23, "images": 100, "largest": 20, "needed": 31},
        **{"of": "val and test", "data": "squares"},
    }
    assert guessing.judged(made(0.34, 0.28), five) is None


def test_naming_the_largest_class_always_is_guessing(squares: Dataset) -> None:
    unequal = data(squares, [0] * 90 + [1] * 10)
    assert guessing.judged(made(0.9, 0.9), unequal)
    assert guessing.judged(made(0.97, 0.97), unequal) is None


def test_a_head_with_random_weights_is_not_judged(squares: Dataset) -> None:
    assert guessing.judged(made(0.5, 0.5), squares)
    assert guessing.judged(made(0.5, 0.5, new_layers=["logits"]), squares) is None


def test_a_model_that_is_always_right_has_learned_however_few_the_images(squares: Dataset) -> None:
    assert guessing.judged(made(1.0, 1.0), data(squares, [0, 1])) is None


def test_a_trial_is_judged_by_its_val_images(squares: Dataset) -> None:
    found = guessing.judged_on_val(0.3, data(squares, [0, 1, 2, 3, 4] * 9))
    assert found
    assert (found["hits"], found["images"], found["of"]) == (14, 45, "val")
    assert guessing.judged_on_val(0.5, data(squares, [0, 1, 2, 3, 4] * 9)) is None


# another objective


def by(name: Objective, value: float, low: float, accuracy: float = 0.8) -> Artifact:
    scores = {f"val_{name}": value, f"test_{name}": value, f"test_{name}_low": low}
    one = made(accuracy, accuracy)
    return one.model_copy(update={"metrics": one.metrics | scores})


@pytest.mark.parametrize(
    ("name", "value", "low", "guesses"),
    [
        ("balanced_accuracy", 0.85, 0.7, False),  # right less often than the largest class is named
        ("balanced_accuracy", 0.51, 0.505, True),  # hardly better
        ("macro_f1", 0.7, 0.49, True),  # chance explains it
        ("auc", 0.9, 0.8, False),
    ],
)
def test_a_model_that_tells_classes_apart_does_not_guess_though_it_is_right_less_often(
    squares: Dataset, name: Objective, value: float, low: float, guesses: bool
) -> None:
    unequal = data(squares, [0] * 90 + [1] * 10)
    assert guessing.judged(made(0.8, 0.8), unequal)
    assert bool(guessing.judged(by(name, value, low), unequal, name)) == guesses


def test_a_trial_by_another_objective_is_judged_by_that_as_well(squares: Dataset) -> None:
    unequal = data(squares, [0] * 90 + [1] * 10)
    assert guessing.judged_on_val(0.8, unequal, "macro_f1", 0.5)
    assert guessing.judged_on_val(0.8, unequal, "macro_f1", 0.7) is None
