"""MLflow: which runs there are and what they hold, read back with MLflow's own client."""

from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from pipeline.system.nested import flat
from pipeline.tracking import runs
from pipeline.tracking.resume import EXPERIMENT
from pipeline.tracking.runs import PARENT

pytestmark = pytest.mark.usefixtures("workplace", "new_process")
ROW: dict[str, Any] = {
    "trial_id": "3",
    "family": "resnet",
    "arch": {"width": 8, "depths": [1, 2, 1]},
    "settings": {"optimizer": "adam", "learning_rate": 0.01},
    "flops": 600_000,
    "macs": 300_000,
    "params": 5000,
    "status": "COMPLETED",
    "val_accuracy": 0.75,
    "seconds": 2.5,
    "history": {"train/loss": [2.0, 1.0], "val/loss": [2.5, float("nan")]},
    "error": None,
}
FAILED = ROW | {"status": "FAILED", "val_accuracy": None, "history": {}, "error": "Traceback\nOOM"}


def nested(client: MlflowClient, run: runs.Run) -> list[Run]:
    return list(client.search_runs([run.experiment_id], f"tags.`{PARENT}` = '{run.run_id}'"))


def status(client: MlflowClient, run: runs.Run) -> str:
    return str(client.get_run(run.run_id).info.status)


# nesting and statuses


def test_runs_are_nested_as_recipe_stage_and_trial(client: MlflowClient, parent: runs.Run) -> None:
    with parent.child("01-search") as search:
        search.trial(ROW)
        search.trial(ROW | {"trial_id": "4"})
    with parent.child("02-prune"):
        pass
    assert {run.info.run_name for run in nested(client, parent)} == {"01-search", "02-prune"}
    assert {run.info.run_name for run in nested(client, search)} == {"trial-3", "trial-4"}
    assert PARENT not in client.get_run(parent.run_id).data.tags


def test_a_run_that_ends_well_is_finished(client: MlflowClient) -> None:
    with runs.start("mobile") as run, run.child("01-search") as child:
        assert status(client, run) == status(client, child) == "RUNNING"
    assert status(client, run) == status(client, child) == "FINISHED"


@pytest.mark.parametrize(
    ("error", "ended"),
    [(ValueError, "FAILED"), (SystemExit, "FAILED"), (KeyboardInterrupt, "KILLED")],
)
def test_an_error_ends_every_open_run(
    client: MlflowClient, error: type[BaseException], ended: str
) -> None:
    open_runs = []
    with (  # noqa: PT012
        pytest.raises(error),
        runs.start("mobile") as run,
        run.child("01-search") as search,
        search.child("trial-0") as trial,
    ):
        open_runs += [run, search, trial]
        raise error
    assert [status(client, run) for run in open_runs] == [ended] * 3


def test_a_finished_stage_stays_finished_when_a_later_one_fails(client: MlflowClient) -> None:
    with pytest.raises(ValueError, match="boom"), runs.start("mobile") as run:  # noqa: PT012
        with run.child("01-search") as search:
            pass
        with run.child("02-prune"):
            raise ValueError("boom")
    assert status(client, search) == "FINISHED"
    assert status(client, run) == "FAILED"


def test_a_run_is_named_after_the_recipe_in_our_experiment(
    client: MlflowClient, parent: runs.Run
) -> None:
    assert client.get_run(parent.run_id).info.run_name == "mobile"
    assert client.get_experiment(parent.experiment_id).name == EXPERIMENT


def test_the_run_that_mlflow_run_made_is_attached_to(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = client.create_experiment("other")
    made = client.create_run(experiment).info
    monkeypatch.setenv("MLFLOW_RUN_ID", made.run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
    with runs.start("mobile") as run, run.child("01-search") as child:
        pass
    assert (run.run_id, run.experiment_id) == (made.run_id, experiment)
    assert client.get_run(child.run_id).info.experiment_id == experiment
    assert client.get_run(made.run_id).info.run_name == "mobile"
    assert status(client, run) == "FINISHED"


def test_an_attached_run_is_killed_by_ctrl_c(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = client.create_run("0").info
    monkeypatch.setenv("MLFLOW_RUN_ID", made.run_id)
    with pytest.raises(KeyboardInterrupt), runs.start("mobile"):
        raise KeyboardInterrupt
    assert client.get_run(made.run_id).info.status == "KILLED"


def test_an_experiment_of_the_environment_is_used(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    with runs.start("mobile") as run:
        pass
    assert client.get_experiment(run.experiment_id).name == "mine"


# what is recorded


def test_settings_are_recorded_by_dotted_key(client: MlflowClient, parent: runs.Run) -> None:
    parent.params({"seed": 7, "budget": {"flops": 6_000_000}, "targets": ["mobile_cpu"]})
    params = client.get_run(parent.run_id).data.params
    assert params == {"seed": "7", "budget.flops": "6000000", "targets": "['mobile_cpu']"}


def test_more_settings_than_one_call_takes_are_all_recorded(
    client: MlflowClient, parent: runs.Run
) -> None:
    parent.params({f"key_{number}": number for number in range(201)})
    assert len(client.get_run(parent.run_id).data.params) == 201


def test_a_setting_that_is_too_long_is_cut_off(client: MlflowClient, parent: runs.Run) -> None:
    parent.params({"long": "x" * 10_000})
    assert client.get_run(parent.run_id).data.params["long"] == "x" * 6000


def test_final_numbers_are_recorded_flat(client: MlflowClient, parent: runs.Run) -> None:
    parent.metrics({"val_accuracy": 0.5, "size_bytes": 1234})
    assert client.get_run(parent.run_id).data.metrics == {"val_accuracy": 0.5, "size_bytes": 1234.0}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_left_out(
    client: MlflowClient, parent: runs.Run, value: float
) -> None:
    parent.metrics({"val_accuracy": value})
    parent.metrics({"val_accuracy": value, "flops": 1})
    assert client.get_run(parent.run_id).data.metrics == {"flops": 1.0}


def test_curves_have_a_step_per_epoch(client: MlflowClient, parent: runs.Run) -> None:
    parent.curves({"train/loss": [3.0, 2.0, 1.0], "val/loss": [4.0, 3.0, 2.0]})
    points = client.get_metric_history(parent.run_id, "train/loss")
    assert [(point.step, point.value) for point in points] == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert len(client.get_metric_history(parent.run_id, "val/loss")) == 3


def test_files_and_texts_are_kept(client: MlflowClient, parent: runs.Run, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(b"TFL3")
    parent.file(tmp_path / "model.tflite", "export")
    parent.text("seed: 7\n", "recipe.yaml")
    read = {
        name: Path(client.download_artifacts(parent.run_id, name)).read_bytes()
        for name in ("export/model.tflite", "recipe.yaml")
    }
    assert read == {"export/model.tflite": b"TFL3", "recipe.yaml": b"seed: 7\n"}


def test_tags_are_set(client: MlflowClient, parent: runs.Run) -> None:
    with parent.child("01-search", {"resumed": "true"}) as child:
        child.tags({"note": "x" * 6000})
    tags = client.get_run(child.run_id).data.tags
    assert tags["resumed"] == "true"
    assert tags["note"] == "x" * 5000


def test_a_trial_is_recorded_with_its_settings_numbers_and_curves(
    client: MlflowClient, parent: runs.Run
) -> None:
    parent.trial(ROW)
    (run,) = nested(client, parent)
    assert run.info.status == "FINISHED"
    assert run.data.params == {
        "family": "resnet",
        "optimizer": "adam",
        "learning_rate": "0.01",
        "arch.width": "8",
        "arch.depths": "[1, 2, 1]",
    }
    numbers = {key: run.data.metrics[key] for key in ("val_accuracy", "flops", "seconds")}
    assert numbers == {"val_accuracy": 0.75, "flops": 600_000.0, "seconds": 2.5}
    assert len(client.get_metric_history(run.info.run_id, "train/loss")) == 2
    assert len(client.get_metric_history(run.info.run_id, "val/loss")) == 1  # the other is NaN


def test_a_trial_of_many_settings_and_long_curves_is_recorded_whole(
    client: MlflowClient, parent: runs.Run, caplog: pytest.LogCaptureFixture
) -> None:
    """MLflow takes 1,000 things in one call, of which 100 may be settings."""
    settings = {f"choice_{number}": number for number in range(120)}
    curves = {f"val/{name}": [0.5] * 330 for name in ("loss", "accuracy", "auc")}
    parent.trial(ROW | {"settings": settings, "history": curves})
    (run,) = nested(client, parent)
    assert len(run.data.params) == 120 + 3
    for curve in curves:
        assert len(client.get_metric_history(run.info.run_id, curve)) == 330
    assert run.data.metrics["val_accuracy"] == 0.75
    assert "refuses" not in caplog.text


def test_a_trial_that_failed_is_recorded_with_its_error(
    client: MlflowClient, parent: runs.Run
) -> None:
    parent.trial(FAILED)
    (run,) = nested(client, parent)
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == "OOM"
    assert "val_accuracy" not in run.data.metrics
    path = client.download_artifacts(run.info.run_id, "error.txt")
    assert Path(path).read_text() == "Traceback\nOOM"


# runs that a killed process left open


def test_a_run_that_was_left_open_is_killed_with_all_that_is_nested_in_it(
    client: MlflowClient,
) -> None:
    experiment = client.create_experiment("killed")
    ids = [client.create_run(experiment).info.run_id]
    for _ in ("stage", "trial"):
        ids.append(client.create_run(experiment, tags={PARENT: ids[-1]}).info.run_id)
    finished = client.create_run(experiment, tags={PARENT: ids[0]}).info.run_id
    client.set_terminated(finished, "FINISHED")
    other = client.create_run(experiment).info.run_id

    runs.end_abandoned(ids[0])
    assert [client.get_run(run_id).info.status for run_id in ids] == ["KILLED"] * 3
    assert client.get_run(finished).info.status == "FINISHED"
    assert client.get_run(other).info.status == "RUNNING"


def test_a_run_that_ended_keeps_its_status(client: MlflowClient) -> None:
    run_id = client.create_run("0").info.run_id
    client.set_terminated(run_id, "FAILED")
    runs.end_abandoned(run_id)
    assert client.get_run(run_id).info.status == "FAILED"


def test_a_run_that_the_store_does_not_hold_is_passed_over() -> None:
    runs.end_abandoned("0123456789abcdef0123456789abcdef")


# flat


@pytest.mark.parametrize(
    ("nested", "expected"),
    [
        ({"a": 1}, {"a": 1}),
        ({"a": {"b": {"c": 1}}}, {"a.b.c": 1}),
        ({"a": [{"b": 1}, {"b": 2}]}, {"a.0.b": 1, "a.1.b": 2}),
        ({"a": [1, 2]}, {"a": [1, 2]}),
        ({"a": []}, {"a": []}),
        ({"a": [{"b": 1}, 2]}, {"a": [{"b": 1}, 2]}),
        ({"a": None}, {"a": None}),
        ({}, {}),
    ],
)
def test_nested_settings_get_dotted_keys(nested: Any, expected: dict[str, Any]) -> None:
    assert flat(nested) == expected
