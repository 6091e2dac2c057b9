"""Runs side by side: what differs is found, and an interval says how sure it is."""

from pathlib import Path

import numpy as np
import pytest
from support.sides import NAMES, run

from pipeline.errors import ModelError
from pipeline.measure import comparison
from pipeline.measure.comparison import Side
from pipeline.report.change import paired


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Side, Side]:
    one = {"seed": 1, "stages": [{"finetune": {"epochs": 4}}, "export"]}
    other = {"seed": 1, "stages": [{"finetune": {"epochs": 9}}, "export", "report"]}
    return run(tmp_path / "a", 0, 4000.0, **one), run(tmp_path / "b", 60, 2000.0, **other)


def test_only_the_settings_that_differ_have_a_row(sides: tuple[Side, Side]) -> None:
    assert comparison.recipes(sides) == [["finetune.epochs", "4", "9"]]


def test_the_sentence_says_what_is_sure(sides: tuple[Side, Side], tmp_path: Path) -> None:
    first, other = sides
    said = comparison.told(first, other)
    assert f"{other.name} is less accurate (" in said
    assert "is 2.00 times smaller (4,000 and 2,000 bytes)" in said
    alike = run(tmp_path / "c", 1, 4000.0)
    assert "shows no clear difference in accuracy" in comparison.told(first, alike)


def test_the_interval_is_that_of_paired_answers(sides: tuple[Side, Side]) -> None:
    found = comparison.change(*sides)
    assert found is not None
    low, centre, high = paired(found)
    differences = (
        sides[1].answers.hits.astype(float) - sides[0].answers.hits  # type: ignore[union-attr]
    )
    assert centre == pytest.approx(100 * differences.mean())
    error = 100 * differences.std() / np.sqrt(400)
    assert (low, high) == pytest.approx((centre - 1.96 * error, centre + 1.96 * error))


def test_other_test_images_cannot_be_compared(sides: tuple[Side, Side], tmp_path: Path) -> None:
    moved = sides[1].final.directory / "answers.npz"
    with np.load(moved) as found:
        kept = {name: found[name][:300] for name in found}
    np.savez_compressed(moved, **kept)
    assert comparison.change(*sides) is None
    assert "other images" in comparison.told(*sides)


def test_classes_and_numbers_have_a_value_for_every_run(sides: tuple[Side, Side]) -> None:
    rows = comparison.classes(sides)
    assert {row[0] for row in rows} <= {*NAMES}
    assert all(row[1] != row[2] for row in rows)
    numbers = comparison.numbers(sides)
    assert ["finetune", "File bytes", "4,000", "2,000"] in numbers
    assert comparison.operators(sides) == []


def test_a_directory_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no finished run\. Received: "):
        comparison.load(tmp_path)
