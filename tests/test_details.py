"""Details: only those that are declared, and of those only the ones that a stage has set."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from support.report_run import FLOAT, artifact

from pipeline.artifact import FILE, Artifact


@pytest.fixture
def made(tmp_path: Path) -> Artifact:
    place = tmp_path / "01-search"
    return Artifact(stage="search", fingerprint="", details={"trials": []}, directory=place)


def test_a_detail_that_is_not_declared_is_refused(made: Artifact) -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        made.telling(unheard_of=1)


def test_details_are_set_one_by_one(made: Artifact) -> None:
    told = made.telling(note="slow").telling(winner="0")
    assert (told.details.trials, told.details.note, told.details.winner) == ([], "slow", "0")


def test_the_file_has_the_details_that_were_set_and_no_others(made: Artifact) -> None:
    made.telling(against=None, history={"train/loss": [1.0, None]}).save()
    written = json.loads((made.directory / FILE).read_text())["details"]
    assert written == {"trials": [], "against": None, "history": {"train/loss": [1.0, None]}}


def test_details_that_are_not_declared_reach_no_report() -> None:
    with pytest.raises(ValidationError, match=r"remark\n.*Extra inputs"):
        artifact("01-finetune", FLOAT, remark="hello there")
