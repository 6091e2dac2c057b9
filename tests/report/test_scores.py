"""The scores of a model in the report: intervals, the table, and a run by another objective."""

from typing import Any

import pytest
from support.report_run import FLOAT, INT8, TRIALS, artifact, plain

from pipeline.report import page, scores, trials, verdict

ROWS = [
    {"score": "accuracy", "value": 0.95, "low": 0.93, "high": 0.965},
    {"score": "balanced_accuracy", "value": 0.5, "low": 0.45, "high": 0.55},
    {"score": "macro_f1", "value": 0.487, "low": 0.44, "high": 0.53},
    {"score": "auc", "value": 0.81, "low": 0.75, "high": 0.86},
]
OWN = {
    "val_macro_f1": 0.5,
    "test_macro_f1": 0.487,
    "test_macro_f1_low": 0.44,
    "test_macro_f1_high": 0.53,
}


def by_macro_f1() -> list[Any]:
    trials = [{**one, "val_macro_f1": i / 10} for i, one in enumerate(TRIALS)]
    told: dict[str, Any] = {"objective": "macro_f1", "scores": ROWS}
    return [
        artifact("01-search", FLOAT | OWN, trials=trials, winner="8", finalists=["8"], **told),
        artifact("02-finetune", FLOAT | OWN | {"test_macro_f1": 0.4}, **told),
        artifact("03-quantize", INT8 | OWN, **told),
    ]


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.9, 0.95, "90.0 to 95.0"), (0.9991, 0.9995, "99.91 to 99.95"), (0.0, 1.0, "0.0 to 100.0")],
)
def test_an_interval_has_the_digits_that_tell_its_ends_apart(
    low: float, high: float, said: str
) -> None:
    assert scores.interval(low, high) == said


def test_every_score_of_the_final_model_is_in_the_table_with_its_interval() -> None:
    shown = plain(*by_macro_f1())
    assert shown.row("macro F1, the objective")[2:] == ["48.70", "44.0 to 53.0"]
    assert shown.row("AUC")[2:] == ["81.00", "75.0 to 86.0"]
    assert "Measured after 03-quantize." in shown.text


def test_a_run_of_an_earlier_version_has_no_table_of_scores() -> None:
    assert "Scores on test" not in plain(artifact("01-finetune", FLOAT)).text


def test_the_verdict_names_the_objective_first_and_both_intervals() -> None:
    ends = {"test_accuracy_low": 0.98, "test_accuracy_high": 0.99}
    *earlier, last = by_macro_f1()
    said = verdict.verdict([*earlier, last.model_copy(update={"metrics": last.metrics | ends})])
    assert (
        "a test macro F1 of 48.70% (95% interval 44.0 to 53.0), a test accuracy of 98.61%" in said
    )
    assert "98.61% (95% interval 98.0 to 99.0)" in said
    assert "test macro F1 changes by +8.70 percentage points" in said


def test_the_stages_have_columns_of_the_objective() -> None:
    shown = plain(*by_macro_f1())
    titles = next(row for row in shown.rows if row[0] == "Stage")
    assert titles[3:5] == ["Val macro F1 (%)", "Test macro F1 (%)"]
    assert shown.row("03-quantize")[3:5] == ["50.00", "48.70 (44.0 to 53.0)"]
    accuracy = next(row for row in plain(artifact("01-finetune", FLOAT)).rows if row[0] == "Stage")
    assert not [title for title in accuracy if "F1" in title]


def test_trials_are_ranked_by_the_objective() -> None:
    search = by_macro_f1()[0]
    found = trials.read_trials(search)
    assert [one.score for one in found[:3]] == [0.8, 0.7, 0.6]
    shown = plain(search)
    assert "Val macro F1 (%)" in shown.text
    assert "Validation macro F1 against FLOPs" in page.render_html([search], "mobile", "")
    assert "Val macro F1 (%)" in page.render_markdown([search], "mobile")
