"""One line that says whether a model is safe to ship."""

from typing import Any

import pytest
from support.report_run import FLOAT, INT8, artifact

from pipeline.report.headline import headline

INTERVAL = {"test_accuracy_low": 0.978, "test_accuracy_high": 0.994}
ON = {"index": 0, "name": "CONV_2D", "placement": "xnnpack", "reason": None}
OFF = {"index": 1, "name": "CUMSUM", "placement": "cpu", "reason": "no kernel"}


def target(name: str, runs: bool = True, *operators: dict[str, Any]) -> dict[str, Any]:
    every = operators or (ON,)
    mapped = sum(op["reason"] is None for op in every)
    fixed = {"target": name, "runs": runs, "refused": None if runs else "no", "mapped": mapped}
    return {**fixed, "total": len(every), "operators": [*every]}


def test_a_model_that_runs_where_it_was_asked_to_is_ready() -> None:
    made = artifact("02-export", INT8 | INTERVAL, targets=[target("mobile_cpu")])
    assert headline([artifact("01-finetune", FLOAT), made]) == (
        "READY FOR PHONES: 67.3 KiB, 98.6% \N{PLUS-MINUS SIGN} 0.8 of test images right, "
        "0.092 ms on this machine"
    )


@pytest.mark.parametrize(
    ("details", "state"),
    [
        ({"targets": [target("mobile_cpu"), target("browser")]}, "READY FOR PHONES AND BROWSERS"),
        ({"targets": [target("mobile_cpu", True, ON, OFF)]}, "READY FOR PHONES"),
        ({"targets": [target("mobile_cpu"), target("edgetpu", False)]}, "DOES NOT RUN ON THE EDGE"),
        (
            {"targets": [target("ethos_u", True, {**ON, "placement": "npu"}, OFF)]},
            "RUNS ONLY PARTLY ON ETHOS-U",
        ),
        ({"targets": []}, "EXPORTED, FOR NO TARGET"),
        ({}, "NOT EXPORTED"),
        ({"targets": [target("mobile_cpu")], "shortfall": "test"}, "WORSE THAN ALLOWED"),
    ],
)
def test_what_is_wrong_comes_first(details: dict[str, Any], state: str) -> None:
    assert headline([artifact("02-export", INT8, **details)]).startswith(state)


def test_a_run_without_a_model_has_none() -> None:
    assert headline([artifact("01-search")]) == "NO MODEL YET"
