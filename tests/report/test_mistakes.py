"""What the page says of mistakes and of trust, from the answers of a model made by hand."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.report_run import CLASSES, FLOAT, INT8, Page, artifact

from pipeline.data import inline
from pipeline.measure import answers, evaluation
from pipeline.measure.answers import Answers
from pipeline.report import mistakes, trust
from pipeline.report.page import render_html

NAMES = [row["class"] for row in CLASSES]
RNG = np.random.default_rng(1)
LABELS = RNG.integers(0, 4, 200)
SCORES = RNG.dirichlet(np.ones(4), 200) * 0.4 + 0.6 * np.eye(4)[LABELS]
SCORES[:30] = np.roll(SCORES[:30], 1, axis=1)  # 30 mistakes, each of the next class
WORSE = SCORES.copy()
WORSE[30:35], WORSE[:2] = np.roll(SCORES[30:35], 1, axis=1), np.roll(SCORES[:2], -1, axis=1)
ROBUST = [
    {
        "kind": kind,
        "strength": strength,
        "amount": 0.1,
        "images": 200,
        "accuracy": {"float": {"value": 0.8, "low": 0.7, "high": 0.9}},
    }
    for kind, strength in (("none", ""), ("blur", "weak"))
]


def picture(place: int) -> str:
    return inline.address(np.full((8, 8, 1), place, np.uint8), 96)


def run() -> list[Any]:
    said, rows, found = evaluation.evaluated((LABELS, WORSE), (LABELS, WORSE), NAMES)
    change = evaluation.change(Answers.of(LABELS, SCORES), found, "01-finetune")
    details = {"evaluation": said, "per_class": rows, "change": change, "robustness": ROBUST}
    return [artifact("01-finetune", FLOAT), artifact("02-export", INT8, **details)]


@pytest.fixture(scope="module")
def html() -> str:
    return render_html(run(), "made by hand", "", picture=picture)


def test_the_table_has_a_cell_for_each_class_and_answer(html: str) -> None:
    rows = {row[0]: row[1:] for row in Page(html).rows if row and row[0] in NAMES}
    named = WORSE.argmax(axis=1)
    table = [row for row in Page(html).rows if row[:1] == ["Class"] and row[1:] == NAMES]
    assert table
    first = next(row for row in Page(html).rows if row[0] == NAMES[0])
    expected = [int(np.sum((LABELS == 0) & (named == k))) for k in range(4)]
    assert [int(cell or 0) for cell in first[1:]] == expected
    assert rows


def test_every_number_of_a_change_is_counted(html: str) -> None:
    assert (
        "From 01-finetune to 02-export, 7 of 200 test images get another class: 5 are wrong now "
        "that were right, 2 are right now that were wrong."
    ) in Page(html).text


def test_images_are_shown_with_both_answers_those_that_were_lost_first() -> None:
    found = mistakes.of(run(), picture)
    assert found is not None
    title, _, shown = found["galleries"][0]
    assert title == "Images whose class changed"
    assert [[answer.is_right for answer in one.answers] for one in shown] == (
        [[True, False]] * 5 + [[False, True]] * 2
    )
    assert shown[0].answers[0].model == "01-finetune"
    assert shown[0].source == picture(run()[1].details.change["after"][0]["image"])


def test_the_page_holds_its_images_and_needs_none_of_them(html: str) -> None:
    sources = [str(attrs["src"]) for tag, attrs in Page(html).tags if tag == "img"]
    assert 7 + 12 < len(sources) <= 7 + 12 + 12
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    without = render_html(run(), "made by hand", "")
    assert not [tag for tag, _ in Page(without).tags if tag == "img"]


def test_many_classes_have_a_list_of_pairs_instead_of_a_table() -> None:
    names = [f"class {i}" for i in range(40)]
    labels = np.arange(400) % 40
    named = np.where(labels == 3, 4, labels)
    said, rows, _ = evaluation.evaluated((labels, np.eye(40)[named]), None, names)
    found = mistakes.of([artifact("01-export", INT8, evaluation=said, per_class=rows)])
    assert found is not None
    assert found["table"] is None
    assert found["pairs"] == [{"true": "class 3", "named": "class 4", "images": 10, "share": 1.0}]


def test_trust_is_told_drawn_and_measured_on_worse_images(html: str) -> None:
    found = trust.of(run())
    assert found is not None
    assert found["told"] in Page(html).text
    assert [row[0] for row in found["damages"]["rows"]] == ["as they are", "weak blur"]
    assert found["damages"]["rows"][1][1] == "80.00 (70.0 to 90.0)"
    assert re.search(r"by [\d.]+ points on average; with each score", found["told"])


def test_a_run_of_an_earlier_version_has_neither(tmp_path: Path) -> None:
    earlier = [artifact("01-export", INT8)]
    assert mistakes.of(earlier) is None
    assert trust.of(earlier) is None
    assert answers.load(tmp_path) is None
