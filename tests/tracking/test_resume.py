"""The MLflow run of a directory: the same command reopens it, and records everything once."""

import json
import os
import time
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from pipeline.tracking import journal, resume, runs
from pipeline.tracking.resume import CONTINUES, PARENT, Note

pytestmark = pytest.mark.usefixtures("workplace", "new_process")
CODE = "abc"
LOAD = "system/cpu_utilization_percentage"
ROW: dict[str, Any] = {
    "trial_id": "3",
    "family": "resnet",
    "arch": {"width": 8},
    "settings": {"optimizer": "adam"},
    "val_accuracy": 0.75,
    "seconds": 2.5,
    "history": {"val/loss": [2.5, 1.5]},
    "error": None,
}


def nested(client: MlflowClient, run_id: str) -> dict[str, Run]:
    experiment = client.get_run(run_id).info.experiment_id
    found = client.search_runs([experiment], f"tags.`{PARENT}` = '{run_id}'")
    assert len({run.info.run_name for run in found}) == len(found)
    return {run.info.run_name: run for run in found}


def interrupted(place: Path, error: type[BaseException] = KeyboardInterrupt) -> str:
    """A run that an error ended in its second stage; its id."""
    with pytest.raises(error), runs.start("mobile", place, CODE) as run:  # noqa: PT012
        run.params({"seed": 7})
        with run.child("01-search") as search:
            search.trial(ROW)
            search.metrics({"val_accuracy": 0.5})
        with run.child("02-finetune", {"resumed": "false"}) as stage:
            stage.params({"epochs": 3})
            stage.metrics({"val/loss": 2.0}, step=1)
            raise error
    return run.run_id


def go_on(place: Path, code: str = CODE, fresh: bool = False) -> str:
    """The same command again; its run's id."""
    with runs.start("mobile", place, code, fresh) as run:
        run.params({"seed": 7})
        if not run.has("01-search"):
            with run.child("01-search") as search:
                search.trial(ROW)
                search.metrics({"val_accuracy": 0.5})
        with run.child("02-finetune", {"resumed": "false"}) as stage:
            stage.params({"epochs": 3})
            for epoch, loss in enumerate((2.0, 1.0), 1):
                stage.metrics({"val/loss": loss}, step=epoch)
            stage.metrics({"val_accuracy": 0.75})
        run.metrics({"val_accuracy": 0.75})
    return run.run_id


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_the_same_command_goes_on_in_the_same_run(
    client: MlflowClient, tmp_path: Path, error: type[BaseException]
) -> None:
    first = interrupted(tmp_path, error)
    assert go_on(tmp_path) == first
    stages = nested(client, first)
    assert sorted(stages) == ["01-search", "02-finetune"]
    trials = nested(client, stages["01-search"].info.run_id)
    for run in (client.get_run(first), *stages.values(), *trials.values()):
        assert run.info.status == "FINISHED"
    finetune = stages["02-finetune"].info.run_id
    points = client.get_metric_history(finetune, "val/loss")
    assert [(point.step, point.value) for point in points] == [(1, 2.0), (2, 1.0)]


def test_a_run_that_goes_on_several_times_is_one(client: MlflowClient, tmp_path: Path) -> None:
    first = interrupted(tmp_path)
    for _ in range(2):
        assert interrupted(tmp_path) == first
        assert go_on(tmp_path) == first
    assert client.get_run(first).info.status == "FINISHED"
    assert len(client.get_metric_history(first, "val_accuracy")) == 1
    assert sorted(nested(client, first)) == ["01-search", "02-finetune"]


def test_a_run_whose_process_was_killed_goes_on(client: MlflowClient, tmp_path: Path) -> None:
    first = interrupted(tmp_path)
    stage = nested(client, first)["02-finetune"].info.run_id
    for one in (first, stage):
        client.update_run(one, "RUNNING")
    assert go_on(tmp_path) == first
    assert client.get_run(stage).info.status == "FINISHED"


@pytest.mark.parametrize(("code", "fresh"), [(CODE, True), ("another", False)])
def test_what_is_run_afresh_or_with_other_settings_is_a_new_run(
    client: MlflowClient, tmp_path: Path, code: str, fresh: bool
) -> None:
    first = interrupted(tmp_path)
    second = go_on(tmp_path, code, fresh)
    assert second != first
    assert client.get_run(second).data.tags[CONTINUES] == first
    assert client.get_run(first).info.status == "KILLED"
    assert sorted(nested(client, second)) == ["01-search", "02-finetune"]
    assert go_on(tmp_path, code) == second


def test_a_run_that_someone_has_deleted_is_replaced(client: MlflowClient, tmp_path: Path) -> None:
    first = interrupted(tmp_path)
    client.delete_run(first)
    second = go_on(tmp_path)
    assert second != first
    assert client.get_run(second).info.status == "FINISHED"


def test_a_run_of_another_store_is_replaced(client: MlflowClient, tmp_path: Path) -> None:
    resume.write(tmp_path, Note("0123456789abcdef0123456789abcdef", CODE))
    (tmp_path / journal.FILE).write_text('{"call": "status", "run_id": "0", "status": "FAILED"}\n')
    second = go_on(tmp_path)
    assert client.get_run(second).info.status == "FINISHED"
    assert not (tmp_path / journal.FILE).exists()
    assert CONTINUES not in client.get_run(second).data.tags


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"run_id": "no id"}', "null"])
def test_a_damaged_note_begins_a_new_run(
    client: MlflowClient, tmp_path: Path, content: str
) -> None:
    (tmp_path / resume.FILE).write_text(content)
    run_id = go_on(tmp_path)
    assert json.loads((tmp_path / resume.FILE).read_text())["run_id"] == run_id


def test_a_setting_that_has_changed_is_told_by_a_tag(client: MlflowClient, tmp_path: Path) -> None:
    with runs.start("mobile", tmp_path, CODE) as run:
        run.params({"seed": 7, "budget": {"flops": 1}})
    with runs.start("mobile", tmp_path, CODE) as run:
        run.params({"seed": 7, "budget": {"flops": 2}, "new": 3})
    data = client.get_run(run.run_id).data
    assert data.params == {"seed": "7", "budget.flops": "1", "new": "3"}
    assert data.tags["changed.budget.flops"] == "2"
    assert run.waiting is None


def test_a_trial_gets_numbers_from_a_later_command_once(
    client: MlflowClient, tmp_path: Path
) -> None:
    interrupted(tmp_path)
    for _ in range(2):
        with runs.start("mobile", tmp_path, CODE) as run, run.child("01-search") as search:
            search.trial(ROW)
            search.trial(ROW | {"int8_val_accuracy": 0.7})
    (trial,) = nested(client, search.run_id).values()
    assert trial.data.metrics["int8_val_accuracy"] == 0.7
    for name in ("int8_val_accuracy", "val_accuracy"):
        assert len(client.get_metric_history(trial.info.run_id, name)) == 1


# what `mlflow run` and the user have chosen


def made_by_mlflow(client: MlflowClient, patch: pytest.MonkeyPatch, experiment: str) -> str:
    run_id = str(client.create_run(experiment).info.run_id)
    patch.setenv("MLFLOW_RUN_ID", run_id)
    patch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
    return run_id


def test_the_run_that_mlflow_run_has_made_is_nested_in_the_earlier_one(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made_by_mlflow(client, monkeypatch, "0")
    assert interrupted(tmp_path) == first
    second = made_by_mlflow(client, monkeypatch, "0")
    assert go_on(tmp_path) == first
    assert client.get_run(first).info.status == "FINISHED"
    tags = client.get_run(second).data.tags
    assert (tags[PARENT], tags[CONTINUES]) == (first, first)
    assert client.get_run(second).info.status == "FINISHED"
    assert "MLFLOW_RUN_ID" not in os.environ


def test_the_run_that_mlflow_run_has_made_elsewhere_is_a_new_one(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = interrupted(tmp_path)
    made = made_by_mlflow(client, monkeypatch, client.create_experiment("elsewhere"))
    assert go_on(tmp_path) == made
    assert client.get_run(made).data.tags[CONTINUES] == first
    assert sorted(nested(client, made)) == ["01-search", "02-finetune"]


def test_an_experiment_that_is_asked_for_is_used(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = interrupted(tmp_path)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "asked for")
    second = go_on(tmp_path)
    assert second != first
    found = client.get_experiment(client.get_run(second).info.experiment_id)
    assert found.name == "asked for"
    assert go_on(tmp_path) == second


def test_the_environment_stays_as_the_user_has_set_it(tmp_path: Path) -> None:
    go_on(tmp_path)
    go_on(tmp_path)
    assert "MLFLOW_EXPERIMENT_ID" not in os.environ


def test_a_run_within_a_run_of_the_user_is_nested_in_it(
    client: MlflowClient, tmp_path: Path
) -> None:
    with mlflow.start_run() as own:
        made = go_on(tmp_path)
        assert mlflow.active_run().info.run_id == own.info.run_id
    assert client.get_run(made).data.tags[PARENT] == own.info.run_id
    assert client.get_run(own.info.run_id).info.status == "FINISHED"


@pytest.mark.parametrize(("given", "expected"), [(None, True), ("false", False)])
def test_the_load_of_the_machine_is_recorded(
    given: str | None,
    expected: bool,
    client: MlflowClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    monkeypatch.delenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", raising=False)
    if given:
        monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", given)
    with runs.start("any", tmp_path / "run") as run:
        deadline = time.monotonic() + (20 if expected else 1)
        while time.monotonic() < deadline:
            if LOAD in client.get_run(run.run_id).data.metrics:
                break
            time.sleep(0.1)
    assert (LOAD in client.get_run(run.run_id).data.metrics) == expected
