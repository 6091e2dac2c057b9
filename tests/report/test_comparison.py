"""Runs side by side, as a page and as text."""

import pytest
from support.report_run import Page

from pipeline.report import comparison
from pipeline.report.comparison import Found
from pipeline.report.mistakes import Answer, Shown

SHOWN = Shown(None, "cat", [Answer("a", "cat", "90.0", True), Answer("b", "<dog>", "80.0", False)])
FOUND = Found(
    names=["a", "b"],
    headlines=["a: READY", "b: READY"],
    told=["b is less accurate."],
    recipes=[["seed", "1", "2"]],
    numbers=[["finetune", "File bytes", "4,000", "2,000"]],
    operators=[],
    classes=[["cat", "99.00", "98.00"]],
    galleries=[("Images that b names otherwise", "1 of 9.", [SHOWN])],
)


def test_the_page_has_every_table_and_the_verdict_first() -> None:
    page = Page(comparison.render_html(FOUND, "a and <b>"))
    assert page.row("seed") == ["seed", "1", "2"]
    assert page.row("finetune") == ["finetune", "File bytes", "4,000", "2,000"]
    assert page.text.index("b is less accurate.") < page.text.index("a: READY")
    assert "b: <dog> 80.0%" in page.text
    assert "Nothing differs." in page.text  # of the operators


def test_the_text_has_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    comparison.print_text(FOUND)
    said = capsys.readouterr().out
    assert said.startswith("b is less accurate.\n")
    assert "nothing differs" in said
    assert [line.split() for line in said.splitlines() if "seed" in line] == [["seed", "1", "2"]]
