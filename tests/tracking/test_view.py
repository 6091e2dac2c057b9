"""How to see a run: a command for a store in a file, an address for a server."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from pipeline.tracking import runs, view

pytestmark = pytest.mark.usefixtures("workplace", "new_process")


def test_the_hint_names_the_store_and_the_run(workplace: Path, parent: runs.Run) -> None:
    command, address, report, every = view.hint(parent).splitlines()
    assert command.startswith(f"mlflow ui --backend-store-uri sqlite:///{workplace}/mlflow.db ")
    page = f"http://127.0.0.1:5000/#/experiments/{parent.experiment_id}/runs"
    assert address == f"  the run: {page}/{parent.run_id}"
    assert report == f"  its report: {page}/{parent.run_id}/artifacts/export/report.html"
    assert every.startswith(f"  all runs and trials: {page}?viewStateShareKey=flopsmith&")


def test_the_hint_can_be_pasted_into_a_shell(
    parent: runs.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: "sqlite:////my place/mlflow.db")
    words = shlex.split(view.hint(parent).splitlines()[0])
    assert words[2:4] == ["--backend-store-uri", "sqlite:////my place/mlflow.db"]


def test_the_hint_for_a_server_is_its_address(
    parent: runs.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: "http://here:5000/")
    page = f"#/experiments/{parent.experiment_id}/runs/{parent.run_id}"
    assert view.hint(parent).splitlines()[0] == f"the run: http://here:5000/{page}"
    assert view.hint(parent).count("http://here:5000/#/experiments/") == 3


@pytest.mark.slow
def test_without_a_tracking_uri_the_store_is_a_file_where_the_command_runs(
    tmp_path: Path, empty_store: Path
) -> None:
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    code = (
        "from pipeline.tracking import runs, view\nwith runs.start('x') as r: print(view.hint(r))"
    )
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    root = str(Path(runs.__file__).parents[2])
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**clean, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--backend-store-uri sqlite:///mlflow.db " in ended.stdout
    there = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (experiment,) = there.search_experiments(filter_string="name = 'flopsmith'")
    assert [run.info.run_name for run in there.search_runs([experiment.experiment_id])] == ["x"]
