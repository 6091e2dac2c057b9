"""What models are compared with: the one that was given, and the start of compression."""

from pathlib import Path
from typing import Any

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
