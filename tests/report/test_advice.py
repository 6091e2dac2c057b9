"""What to try next is said where a run gives reason to, and not elsewhere."""

from typing import Any

import pytest
from support.report_run import FLOAT, HISTORY, INT8, TRIALS, artifact

from pipeline.report.advice import advice

DARK = [
    {
        "kind": "none",
        "strength": "",
        "amount": 0,
        "images": 9,
        "accuracy": {"int8": {"value": 0.9}},
    },
    {
        "kind": "darkness",
        "strength": "weak",
        "amount": 0.7,
        "images": 9,
        "accuracy": {"int8": {"value": 0.6}},
    },
]
EVALUATION = {
    **{"images": 9, "confusion": [], "reliability": [], "hardest": [], "surest_mistakes": []},
    **{"calibration_error": 0.12, "temperature": 1.8, "tempered_error": 0.02},
}
PARTLY = {
    **{"target": "ethos_u", "runs": True, "refused": None, "mapped": 0, "total": 1},
    "operators": [{"index": 0, "name": "RELU", "placement": "cpu", "reason": "no"}],
}
GAP = HISTORY | {"train/accuracy": [0.5, 0.99], "val/accuracy": [0.5, 0.8]}


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ([artifact("01-finetune", FLOAT, history=GAP)], "99.0% of train and 80.0% of val"),
        ([artifact("01-export", INT8, robustness=DARK)], "Weak darkness costs 30 points"),
        ([artifact("01-export", INT8, evaluation=EVALUATION)], "use the temperature 1.80"),
        ([artifact("01-export", INT8, targets=[PARTLY])], "not run wholly on ethos_u"),
        ([artifact("01-export", INT8, shortfall="test")], "worse than allowed"),
        (
            [artifact("01-search", FLOAT, trials=TRIALS, winner="1", budget={"flops": 6e6})],
            "uses 14% of the budget",
        ),
    ],
)
def test_each_reason_has_its_advice(run: list[Any], words: str) -> None:
    (said,) = advice(run)
    assert words in said


def test_a_run_without_a_fault_has_none() -> None:
    assert advice([artifact("01-finetune", FLOAT, history=HISTORY)]) == []
    assert advice([artifact("01-search")]) == []
