"""A run that dies goes on where it stopped: SIGKILL during the search, then the same command."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

TRIALS = 3
COMMAND = [sys.executable, "-m", "pipeline", "run", "--recipe", "tiny.yaml", "--out", "out"]
RECIPE = f"""
description: A search alone
data: digits
budget: {{flops: 2M}}
stages:
  - search: {{trials: {TRIALS}, epochs: 3}}
"""


def start(folder: Path, **environment: str) -> "subprocess.Popen[bytes]":
    root = str(Path(__file__).parents[2])
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    (folder / "tmp").mkdir(exist_ok=True)
    own = {"PYTHONPATH": root, "TMPDIR": str(folder / "tmp"), **environment}
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
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    for wanted in (1, 2):
        run = start(tmp_path)
        wait_until(lambda wanted=wanted: len(finished_trials(tmp_path)) >= wanted, run)
        time.sleep(0.5)  # somewhere inside the next trial
        run.send_signal(signal.SIGKILL)
        run.wait()
    before = finished_trials(tmp_path)
    last = start(tmp_path)
    assert last.wait(timeout=300) == 0, (tmp_path / "log.txt").read_text()

    after = finished_trials(tmp_path)
    assert len(after) == TRIALS + 1  # the best goes on
    assert {name: after[name] for name in before} == before
    details = json.loads((tmp_path / "out/01-search/artifact.json").read_text())["details"]
    ids = [row["trial_id"] for row in details["trials"] if row["parent"] is None]
    assert sorted(ids) == ["0000", "0001", "0002"]
    assert len({json.dumps(row["arch"]) for row in details["trials"]}) == TRIALS

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
def test_a_trial_killed_in_the_middle_goes_on_from_its_last_whole_epoch(tmp_path: Path) -> None:
    recipe = RECIPE.replace(f"trials: {TRIALS}, epochs: 3", "oracle: random, trials: 1, epochs: 25")
    (tmp_path / "tiny.yaml").write_text(recipe)
    log = tmp_path / "log.txt"
    run = start(tmp_path)
    wait_until(lambda: "trial_0 5/25" in log.read_text(), run)
    run.send_signal(signal.SIGKILL)
    run.wait()
    trained = log.read_text().count("trial_0 ")
    assert start(tmp_path).wait(timeout=300) == 0, log.read_text()
    assert log.read_text().count("trial_0 ") <= 25 + 1  # at most one epoch was trained twice
    assert trained >= 5
    (row,) = json.loads((tmp_path / "out/01-search/artifact.json").read_text())["details"]["trials"]
    assert len(row["history"]["val/accuracy"]) == 25


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
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


def serve(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    """Start an MLflow server, and wait until it answers."""
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    store = ["--backend-store-uri", "sqlite:///server.db", "--artifacts-destination", "files"]
    with (folder / "server.txt").open("ab") as log:
        server = subprocess.Popen(
            [*command, *store],
            cwd=folder,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    wait_until(lambda: answers(port), server)
    return server


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@pytest.mark.slow
def test_a_server_that_dies_in_the_middle_gets_everything_from_the_same_command(
    tmp_path: Path,
) -> None:
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    server = serve(tmp_path, port)
    run = start(tmp_path, MLFLOW_TRACKING_URI=address)
    wait_until(lambda: len(finished_trials(tmp_path)) >= 1, run)
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    assert run.wait(timeout=300) == 0, (tmp_path / "log.txt").read_text()
    log = (tmp_path / "log.txt").read_text()
    assert log.count("MLflow does not record this run at present") == 1
    assert "Traceback" not in log
    assert (tmp_path / "out/mlflow.jsonl").exists()

    server = serve(tmp_path, port)
    try:
        last = start(tmp_path, MLFLOW_TRACKING_URI=address)
        assert last.wait(timeout=300) == 0, (tmp_path / "log.txt").read_text()

        import mlflow

        client = mlflow.MlflowClient(address)
        experiments = [e.experiment_id for e in client.search_experiments()]
        found = client.search_runs(experiments)
        trials = [f"trial-{name[6:]}" for name in finished_trials(tmp_path)]
        names = sorted(run.info.run_name for run in found)
        assert names == sorted(["tiny", "01-search", *trials])
        assert {run.info.status for run in found} == {"FINISHED"}
        assert not (tmp_path / "out/mlflow.jsonl").exists()
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
