"""What is said of a classifier agrees with itself, and with what was put in."""

import numpy as np
import pytest

from pipeline.measure import answers, confusion, evaluation
from pipeline.measure.answers import Answers

RNG = np.random.default_rng(3)
NAMES = ("a", "b", "c")


def scored(count: int) -> tuple[np.ndarray, np.ndarray]:
    labels = RNG.integers(0, 3, count)
    logits = RNG.normal(0, 1, (count, 3)) + 2 * np.eye(3)[labels]
    return labels, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_all_of_it_is_about_the_same_answers() -> None:
    test, val = scored(400), scored(200)
    said, rows, found = evaluation.evaluated(test, val, NAMES)
    accuracy = float(found.hits.mean())
    counts = confusion.dense(said["confusion"], 3)
    assert said["images"] == counts.sum() == sum(row["test_images"] for row in rows) == 400
    assert np.trace(counts) / 400 == pytest.approx(accuracy)
    bins = said["reliability"]
    assert sum(b["images"] * b["accuracy"] for b in bins) / 400 == pytest.approx(accuracy)
    assert all(row["label"] != row["named"] for row in said["surest_mistakes"])
    assert said["hardest"][0]["own"] == pytest.approx(found.own.min())
    assert said["unknown"]["kept"] == np.mean(found.sure >= said["unknown"]["threshold"])
    assert 0.9 < said["unknown"]["kept"] < 1


def test_without_scores_on_val_nothing_is_fitted() -> None:
    said, *_ = evaluation.evaluated(scored(50), None, NAMES)
    assert not {"temperature", "tempered_error", "unknown"} & {*said}


def test_a_change_counts_what_was_lost_and_won() -> None:
    labels, scores = scored(300)
    other = scores.copy()
    other[:10] = np.roll(other[:10], 1, axis=1)
    before, after = Answers.of(labels, scores), Answers.of(labels, other)
    found = evaluation.change(before, after, "02-finetune")
    assert found["changed"] == 10
    assert found["lost"] - found["won"] == int(before.hits.sum() - after.hits.sum())
    assert [row["image"] for row in found["before"]] == [row["image"] for row in found["after"]]
    assert {row["image"] for row in found["after"]} == {*answers.changed(before, after)}
