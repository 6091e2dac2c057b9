"""Finalists: the last choice is between int8 files, and a file that is no good comes last."""

import json
from pathlib import Path
from typing import Any

import keras
import pytest

from pipeline.budget import Budget
from pipeline.data.datasets import Dataset
from pipeline.search import finalists, trial

FREE = Budget()  # bounds nothing


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory, few_digits: Dataset) -> list[dict[str, Any]]:
    """Two trials, of a narrow network and a wide one."""
    place = tmp_path_factory.mktemp("search")
    made = []
    for width in (8, 64):
        directory = place / f"trial_{width}"
        directory.mkdir()
        inputs = keras.Input(few_digits.image_shape)
        x = keras.layers.Conv2D(width, 3, strides=2, activation="relu")(inputs)
        x = keras.layers.GlobalAveragePooling2D()(x)
        outputs = keras.layers.Dense(few_digits.num_classes, activation="softmax")(x)
        keras.Model(inputs, outputs).save(directory / trial.MODEL)
        row = {"trial_id": str(width), "directory": directory.name, "val_accuracy": 0.5}
        made.append({**row, "place": place})
    return made


def ranked(
    rows: list[dict[str, Any]], dataset: Dataset, budget: Budget = FREE
) -> list[dict[str, Any]]:
    return finalists.ranked([{**row} for row in rows], rows[0]["place"], dataset, 0, budget)


def test_finalists_are_ranked_by_what_ships(
    rows: list[dict[str, Any]], few_digits: Dataset
) -> None:
    found = ranked(rows, few_digits)
    keys = [(-r["int8_val_accuracy"], r["int8_bytes"], r["int8_latency_ms"]) for r in found]
    assert keys == sorted(keys)
    assert all(row["int8_error"] is None for row in found)


def test_a_result_is_read_and_not_measured_again(
    rows: list[dict[str, Any]], few_digits: Dataset
) -> None:
    first, again = ranked(rows, few_digits), ranked(rows, few_digits)
    assert [r["int8_latency_ms"] for r in again] == [r["int8_latency_ms"] for r in first]


def test_a_file_over_the_budget_comes_after_the_others(
    rows: list[dict[str, Any]], few_digits: Dataset
) -> None:
    narrow, wide = sorted(row["int8_bytes"] for row in ranked(rows, few_digits))
    found = ranked(rows, few_digits, Budget(tflite_bytes=(narrow + wide) // 2))
    assert [row["trial_id"] for row in found] == ["8", "64"]


def test_a_network_that_cannot_be_quantized_comes_last(
    rows: list[dict[str, Any]], few_digits: Dataset, tmp_path: Path
) -> None:
    directory = tmp_path / "trial_bad"
    directory.mkdir()
    (directory / finalists.RESULT).write_text('{"int8_error": "no such operator"}')
    bad = {"trial_id": "bad", "directory": str(directory), "val_accuracy": 0.9}
    found = ranked([*rows, bad], few_digits)
    assert found[-1]["trial_id"] == "bad"


def test_finalists_are_ranked_by_the_objective(tmp_path: Path, few_digits: Dataset) -> None:
    rows = []
    for name, accuracy, f1 in (("0", 0.9, 0.5), ("1", 0.8, 0.6)):
        numbers = {"int8_val_accuracy": accuracy, "int8_val_macro_f1": f1, "int8_error": None}
        (tmp_path / name).mkdir()
        content = json.dumps({**numbers, "int8_bytes": 1, "int8_latency_ms": 1.0})
        (tmp_path / name / finalists.RESULT).write_text(content)
        rows.append({"trial_id": name, "directory": name, "val_accuracy": 0.5})
    found = finalists.ranked(rows, tmp_path, few_digits, 0, FREE, "macro_f1")
    assert [row["trial_id"] for row in found] == ["1", "0"]


def test_the_objective_of_an_int8_file_is_measured(
    rows: list[dict[str, Any]], few_digits: Dataset
) -> None:
    found = finalists.run(rows[0]["place"] / "trial_8" / trial.MODEL, few_digits, 0, "auc")
    assert 0 <= found["int8_val_auc"] <= 1
    (own,) = (row for row in ranked(rows, few_digits) if row["trial_id"] == "8")
    assert found["int8_val_accuracy"] == own["int8_val_accuracy"]
