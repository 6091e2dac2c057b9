"""What cannot be run is refused before anything is written, and what fell short is told."""

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from support.running import TINY, names, read, run
from support.running import client as client
from support.running import reports as reports

from pipeline import runner, targets
from pipeline.artifact import Artifact
from pipeline.errors import BudgetError, DataError, OutputError, ToolError
from pipeline.recipe import Recipe

pytestmark = pytest.mark.usefixtures("workplace")


# what cannot be run


def all_runs(client: MlflowClient) -> int:
    experiments = [one.experiment_id for one in client.search_experiments()]
    return len(client.search_runs(experiments, max_results=1000))


@pytest.mark.parametrize(
    ("overrides", "error", "what"),
    [
        (
            "budget.flops=1000",
            BudgetError,
            r"Received: budget\.flops=1,000, .*resnet needs flops=\d",
        ),
        ("data.source=npz:missing.npz", DataError, "no such file"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_written(
    tmp_path: Path,
    workplace: Path,
    client: MlflowClient,
    overrides: str,
    error: type[Exception],
    what: str,
) -> None:
    before = all_runs(client)
    with pytest.raises(error, match=what):
        run(tmp_path / "out", read(workplace, TINY, overrides))
    assert not (tmp_path / "out").exists()
    assert all_runs(client) == before


@pytest.mark.parametrize("place", ["file", "file/sub", "file/sub/sub"])
def test_an_output_directory_that_cannot_be_made_is_refused(
    tmp_path: Path, reports: Callable[..., Recipe], place: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write to the output directory"):
        runner.run(reports(), tmp_path / place)
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_directory_that_another_run_is_using_is_refused(
    tmp_path: Path, reports: Callable[..., Recipe]
) -> None:
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another run is using the output directory"):
            runner.run(reports(), tmp_path)
        assert names(tmp_path) == []
    run(tmp_path, reports())  # and can be used once the other has ended


# where the model is to run


def test_a_target_whose_tool_is_missing_is_refused_before_data_is_read(
    tmp_path: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets.load("ethos_u"), "missing", lambda: "install it first")
    loaded = read(workplace, TINY, "targets=[mobile_cpu,ethos_u] data=npz:missing.npz")
    with pytest.raises(ToolError, match=r"recipe tiny: targets: ethos_u: install it first"):
        run(tmp_path / "out", loaded)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("runs", "mapped", "told"),
    [
        (True, 2, []),
        (True, 1, ["export: ethos_u: 1 of 2 operators on the NPU. Not ADD 1: too wide."]),
        (False, 0, ["export: It does not run on ethos_u: no such thing."]),
    ],
)
def test_a_model_that_a_target_of_the_recipe_does_not_run_wholly_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, runs: bool, mapped: int, told: list[str]
) -> None:
    operators = [{"index": i, "name": "ADD", "placement": "npu", "reason": None} for i in (0, 1)]
    for lost in operators[mapped:]:
        lost |= {"placement": "cpu", "reason": "too wide"}
    refused = None if runs else "no such thing"
    found = {"target": "ethos_u", "runs": runs, "refused": refused, "mapped": mapped, "total": 2}
    found |= {"operators": operators}
    details = {"targets": [found, {**found, "target": "edgetpu", "runs": False, "refused": "x"}]}
    made = Artifact(stage="export", fingerprint="", details=details, directory=tmp_path)
    runner._warn_of_targets(made, ("ethos_u",))
    assert [record.getMessage() for record in caplog.records] == told
