"""A run that dies goes on where it stopped: SIGKILL during the search, then the same command."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

TRIALS, EPOCHS = 3, 10
COMMAND = [sys.executable, "-m", "pipeline", "run", "--recipe", "tiny.yaml", "--out", "out"]
RECIPE = f"""
description: A search alone
data: {{source: digits, image_size: 8}}
budget: {{flops: 200k}}
stages:
  - search: {{families: [lenet], trials: {TRIALS}, epochs: 3, finalists: 1}}
"""


def start(folder: Path) -> "subprocess.Popen[bytes]":
    root = str(Path(__file__).parents[2])
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    (folder / "tmp").mkdir(exist_ok=True)
    own = {"PYTHONPATH": root, "TMPDIR": str(folder / "tmp")}
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(COMMAND, cwd=folder, env={**clean, **own}, stdout=log, stderr=log)


def left_behind(folder: Path) -> list[Path]:
    """Temporary files of ours and of TensorFlow."""
    return [*folder.glob("tmp/flopsmith-*"), *folder.rglob("__autograph_generated_file*")]


def wait_until(happened: Callable[[], bool], running: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 300
    while not happened():
        assert running.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def finished_trials(folder: Path) -> dict[str, float]:
    """Trial directories with a recorded result, and when it was written."""
    found = {}
    for path in folder.glob("out/01-search/trials/trial_*/trial.json"):
        if json.loads(path.read_text())["status"] == "COMPLETED":
            found[path.parent.name] = (path.parent / "result.json").stat().st_mtime
    return found


@pytest.mark.slow
def test_a_search_killed_twice_ends_with_all_trials_and_repeats_none(tmp_path: Path) -> None:
    """First in the middle of a trial, which goes on from its last whole epoch, then in the next."""
    recipe = RECIPE.replace("epochs: 3", f"epochs: {EPOCHS}, oracle: random, workers: 1")
    (tmp_path / "tiny.yaml").write_text(recipe)
    log = tmp_path / "log.txt"
    run = start(tmp_path)
    wait_until(lambda: f"trial_0 3/{EPOCHS}" in log.read_text(), run)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not finished_trials(tmp_path)
    run = start(tmp_path)
    wait_until(lambda: len(finished_trials(tmp_path)) >= 1, run)
    time.sleep(0.5)  # somewhere inside the next trial
    run.send_signal(signal.SIGKILL)
    run.wait()
    before = finished_trials(tmp_path)
    assert log.read_text().count("trial_0 ") in (EPOCHS, EPOCHS + 1)  # at most one twice
    assert start(tmp_path).wait(timeout=300) == 0, log.read_text()

    after = finished_trials(tmp_path)
    assert len(before) < len(after) == TRIALS
    assert {name: after[name] for name in before} == before
    details = json.loads((tmp_path / "out/01-search/artifact.json").read_text())["details"]
    rows = {int(row["trial_id"]): row for row in details["trials"]}
    assert sorted(rows) == list(range(TRIALS))
    assert len({json.dumps(row["arch"]) for row in rows.values()}) == TRIALS
    assert len(rows[0]["history"]["val/accuracy"]) == EPOCHS

    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiments = [e.experiment_id for e in client.search_experiments()]
    statuses = [
        run.info.status
        for run in client.search_runs(experiments)
        if "mlflow.parentRunId" not in run.data.tags
    ]
    assert statuses == ["FINISHED"]  # a resume is no second run
    children = [
        run for run in client.search_runs(experiments) if "mlflow.parentRunId" in run.data.tags
    ]
    names = [run.info.run_name for run in children]
    assert sorted(names) == sorted({"01-search", *(f"trial-{name[6:]}" for name in after)})
    assert {run.info.status for run in children} == {"FINISHED"}
    assert not left_behind(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_in_one_line_and_ends_the_mlflow_runs(
    tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    run = start(tmp_path)
    wait_until(lambda: (tmp_path / "out/01-search/trials/oracle.json").exists(), run)
    time.sleep(2)
    run.send_signal(number)
    assert run.wait(timeout=60) == 128 + number
    log = (tmp_path / "log.txt").read_text()
    assert "stopped; the same command goes on from here" in log
    assert "Traceback" not in log
    assert not left_behind(tmp_path)

    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiments = [e.experiment_id for e in client.search_experiments()]
    assert {run.info.status for run in client.search_runs(experiments)} == {"KILLED"}
