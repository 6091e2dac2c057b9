"""`mlflow run .` in the active environment: the first command of the README, on a copy."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

ROOT = Path(__file__).parents[2]
PARENT = "mlflow.parentRunId"


def mlflow_run(project: Path, *words: str, timeout: int = 300) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["mlflow", "run", ".", *words],
        cwd=project,
        env={**clean, "PATH": path},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("project")
    for name in ("pipeline", "search_spaces", "recipes"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "MLproject", copy)
    return copy


def runs(project: Path) -> list[mlflow.entities.Run]:
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    experiments = [e.experiment_id for e in client.search_experiments()]
    return list(client.search_runs(experiments, max_results=1000))


@pytest.mark.slow
def test_a_misspelt_parameter_is_an_error_and_not_a_silent_default(project: Path) -> None:
    ended = mlflow_run(project, "-P", "recpe=smoke")
    assert ended.returncode != 0
    assert "unrecognized arguments: --recpe smoke" in ended.stderr
    assert not (project / "runs").exists()


@pytest.mark.slow
def test_an_unknown_recipe_is_one_line_that_lists_the_known(project: Path) -> None:
    ended = mlflow_run(project, "-P", "recipe=nope")
    assert ended.returncode != 0
    known = ", ".join(sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml")))
    assert f"unknown recipe. Received: 'nope'. Known: {known}; or" in ended.stderr


@pytest.mark.slow
def test_every_stage_runs_in_the_active_environment_without_a_flag(project: Path) -> None:
    before = {run.info.run_id for run in runs(project)}
    small = "data.image_size=8 budget.flops=200k search.families=[lenet]"  # the same stages, sooner
    ended = mlflow_run(project, "-P", "recipe=smoke", "-P", f"set={small}")
    assert ended.returncode == 0, ended.stderr
    assert (project / "runs/smoke/export/model.tflite").is_file()

    made = [run for run in runs(project) if run.info.run_id not in before]
    assert {run.info.status for run in made} == {"FINISHED"}
    (parent,) = [run for run in made if PARENT not in run.data.tags]
    assert parent.data.params["recipe"] == "smoke"
    stages = {
        run.info.run_name: run for run in made if run.data.tags.get(PARENT) == parent.info.run_id
    }
    assert [name.split("-")[1] for name in sorted(stages)] == [
        "search", "finetune", "prune", "cluster", "quantize", "export", "report",
    ]  # fmt: skip
    search = stages["01-search"].info.run_id
    trials = [run for run in made if run.data.tags.get(PARENT) == search]
    assert len(trials) == 2
    for run in trials:
        assert run.data.metrics["flops"] <= 200_000
        assert "val/loss" in run.data.metrics
    numbers = parent.data.metrics
    assert numbers["size_bytes"] == (project / "runs/smoke/export/model.tflite").stat().st_size
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    kept = {file.path for file in client.list_artifacts(parent.info.run_id, "export")}
    assert kept >= {"export/model.tflite", "export/labels.txt", "export/report.html"}
    assert {f.path for f in client.list_artifacts(parent.info.run_id)} >= {"recipe.yaml"}
