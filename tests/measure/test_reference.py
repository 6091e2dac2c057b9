"""What models are compared with: the one that was given, and the start of compression."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.artifact import Artifact
from pipeline.data.datasets import Dataset
from pipeline.measure import reference

GIVEN = {"image_shape": [32, 32, 3], "pixels": "0..1", "val_accuracy": 0.96, "test_accuracy": 0.95}


def made(place: Path, name: str, val: float, test: float | None = None, **details: Any) -> Artifact:
    numbers = {"val_accuracy": val, **({} if test is None else {"test_accuracy": test})}
    place = place / name
    place.mkdir(exist_ok=True)
    return Artifact(stage=name, fingerprint="", metrics=numbers, details=details, directory=place)  # type: ignore[arg-type]


def given(place: Path, **details: Any) -> Artifact:
    return made(place, "load", 0.22, 0.2, pretrained=True, new_layers=[], **details)


@pytest.mark.parametrize(("accuracy", "short"), [(0.96, True), (0.971, False), (0.97, False)])
def test_a_drop_beyond_the_allowed_is_told(tmp_path: Path, accuracy: float, short: bool) -> None:
    before, after = made(tmp_path, "finetune", 0.98), made(tmp_path, "export", accuracy)
    told = reference.shortfall(before, after, 0.01, 1000, 1000)
    drop = "val accuracy is 0.0200 below that of finetune, more than max_accuracy_drop=0.01"
    assert told == (drop if short else None)


def test_a_model_that_was_given_counts_at_its_own_size(tmp_path: Path) -> None:
    own = given(tmp_path, given=GIVEN)
    assert reference.accuracy(own) == 0.96
    assert reference.accuracy(own, "test") == 0.95
    told = reference.shortfall(own, made(tmp_path, "export", 0.5), 0.01, 1000, 1000)
    assert told is not None
    assert "0.4600 below that of load (the model given, at its own 32x32x3)" in told
    assert reference.least(made(tmp_path, "load", 0.22), [own]) == 0.96
    assert reference.least(made(tmp_path, "finetune", 0.97), [own]) == 0.97


def test_a_test_accuracy_counts_where_chance_does_not_explain_it(tmp_path: Path) -> None:
    before = made(tmp_path, "load", 0.9, 0.9)
    worse, luck = made(tmp_path, "export", 0.9, 0.8), made(tmp_path, "export", 0.9, 0.86)
    told = reference.shortfall(before, worse, 0.01, 1000, 500)
    assert told is not None
    assert told.startswith("test accuracy is 0.1000 below that of load, more than")
    assert reference.shortfall(before, luck, 0.01, 1000, 100) is None


def test_what_falls_short_is_logged_and_kept_with_the_stage(
    tmp_path: Path, few_digits: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    start = made(tmp_path, "finetune", 0.9)
    short = reference.noted(made(tmp_path, "export", 0.5), [start], start, 0.01, few_digits)
    assert short.details.shortfall in caplog.text
    assert (tmp_path / "export" / "artifact.json").exists()
    again = reference.noted(short, [start], start, 0.5, few_digits)
    assert again.details.shortfall is None


def test_nothing_is_short_of_nothing(tmp_path: Path, few_digits: Dataset) -> None:
    new = made(tmp_path, "load", 0.9, pretrained=True, new_layers=["logits"])
    done = made(tmp_path, "finetune", 0.1)
    assert reference.given([new]) is None
    assert reference.noted(done, [new], None, 0.01, few_digits) is done


# another objective


def scored(place: Path, name: str, value: float, **details: Any) -> Artifact:
    """A model of good accuracy, with a value of macro F1 on val and test."""
    numbers = {"test_macro_f1_low": value - 0.0098, "test_macro_f1_high": value + 0.0098}
    one = made(place, name, 0.99, 0.99, **details)
    own = {"val_macro_f1": value, "test_macro_f1": value, **numbers}
    return one.model_copy(update={"metrics": one.metrics | own})


def test_another_objective_falls_short_by_its_own_value(tmp_path: Path) -> None:
    before, after = scored(tmp_path, "finetune", 0.7), scored(tmp_path, "export", 0.6)
    told = reference.shortfall(before, after, 0.05, 100, 100, "macro_f1")
    assert told == (
        "val macro F1 is 0.1000 below that of finetune, more than max_accuracy_drop=0.05"
    )
    assert reference.shortfall(before, after, 0.05, 100, 100) is None


@pytest.mark.parametrize(("test", "short"), [(0.674, True), (0.679, False)])
def test_on_test_the_widths_of_both_intervals_say_what_chance_explains(
    tmp_path: Path, test: float, short: bool
) -> None:
    # deviations of 0.005 each, of the difference 0.0071: twice that is 0.0141
    before, after = scored(tmp_path, "finetune", 0.7), scored(tmp_path, "export", test)
    after = after.model_copy(update={"metrics": after.metrics | {"val_macro_f1": 0.7}})
    told = reference.shortfall(before, after, 0.01, 100, 100, "macro_f1")
    assert (told is not None) == short


def test_a_model_that_was_given_has_other_scores_at_its_own_size(tmp_path: Path) -> None:
    scores = {"val_macro_f1": 0.8, "test_macro_f1": 0.75}
    own = given(tmp_path, given={**GIVEN, "scores": scores})
    assert reference.accuracy(own, "val", "macro_f1") == 0.8
    assert reference.accuracy(own, "test", "macro_f1") == 0.75
    assert reference.least(scored(tmp_path, "finetune", 0.7), [own], "macro_f1") == 0.8


def test_the_floor_of_another_objective_is_a_fraction_and_one_image_of_accuracy_at_least() -> None:
    floors = [reference.floor(0.9, 0.03, 1000, share, "auc") for share in (1 / 3, 1.0)]
    assert floors == pytest.approx([0.89, 0.87])
    assert reference.floor(0.9, 0.01, 20, 1.0, "auc") == pytest.approx(0.85)
    assert reference.floor(0.9, 0.0, 20, 1.0, "auc") == 0.9


def test_an_image_of_a_rare_class_that_is_worth_more_than_the_drop_is_told() -> None:
    labels = np.array([0] * 95 + [2] * 5)
    said = reference.steps(0.05, labels, "balanced_accuracy")
    assert said is not None
    assert said.startswith("one of the 5 val images of the rarest class is about 0.1000 of bal")
    assert reference.steps(0.1, labels, "macro_f1") is None
    assert reference.steps(0.0, labels, "macro_f1") is None
    assert reference.steps(0.05, labels, "auc") is None
    assert reference.steps(0.05, labels, "accuracy") == reference.coarse(0.05, 100)
