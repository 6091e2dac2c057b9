"""What the page says of mistakes and of trust, from the answers of a model made by hand."""

import numpy as np
import pytest
from support.mistaken import LABELS, NAMES, WORSE, picture, run
from support.report_run import INT8, Page, artifact

from pipeline.measure import evaluation
from pipeline.report import mistakes
from pipeline.report.page import render_html


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


def test_a_run_of_an_earlier_version_has_none() -> None:
    earlier = [artifact("01-export", INT8)]
    assert mistakes.of(earlier) is None
