"""A real MLflow server that dies, comes back and hangs while a run is recorded in it."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipeline.tracking import journal, runs, view
from pipeline.tracking.resume import PARENT

pytestmark = pytest.mark.usefixtures("workplace", "new_process")


class Server:
    """An MLflow server in a process group of its own."""

    def __init__(self, place: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port = found.getsockname()[1]
        self.place, self.address = place, f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self.port)]
        kept = ["--backend-store-uri", f"sqlite:///{self.place}/server.db"]
        files = ["--workers", "1", "--artifacts-destination", str(self.place / "files")]
        self.process = subprocess.Popen(
            [*command, *kept, *files],
            cwd=self.place,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 300
        while not self.answers():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def send(self, number: int) -> None:
        os.killpg(self.process.pid, number)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    (tmp_path / "server").mkdir()
    made = Server(tmp_path / "server")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", made.address)
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", None)
    monkeypatch.setattr("mlflow.tracking.fluent._active_experiment_id", None)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    yield made
    made.send(signal.SIGCONT)
    made.send(signal.SIGKILL)
    made.process.wait()


@pytest.mark.slow
def test_a_server_that_dies_and_hangs_in_the_middle_gets_everything(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.txt").write_text("hello")
    with runs.start("mobile", out, "code") as run:
        with run.child("01-search") as stage:
            stage.params({"number": 1})
        server.send(signal.SIGKILL)
        server.process.wait()
        with run.child("02-prune") as stage:
            stage.params({"number": 2})
            stage.metrics({"val/loss": 0.5}, step=1)
            stage.file(out / "a.txt")
        assert caplog.text.count("(Connection refused)") == 1
        server.start()
        assert run.catch_up()
        with run.child("03-export") as stage:
            stage.params({"number": 3})
        server.send(signal.SIGSTOP)
        run.metrics({"val_accuracy": 0.75})
    assert "(it does not answer)" in caplog.text
    assert str(out / journal.FILE) in view.hint(run)

    server.send(signal.SIGCONT)
    with runs.start("mobile", out, "code") as again:
        assert again.run_id == run.run_id
        assert again.waiting is None
    client = MlflowClient(server.address)
    parent = client.get_run(run.run_id)
    assert (parent.info.status, parent.data.metrics) == ("FINISHED", {"val_accuracy": 0.75})
    found = client.search_runs([run.experiment_id], f"tags.`{PARENT}` = '{run.run_id}'")
    stages = {one.info.run_name: one for one in found}
    assert [(name, stages[name].data.params["number"]) for name in sorted(stages)] == [
        ("01-search", "1"),
        ("02-prune", "2"),
        ("03-export", "3"),
    ]
    assert len(found) == 3
    assert {one.info.status for one in found} == {"FINISHED"}
    (file,) = client.list_artifacts(stages["02-prune"].info.run_id)
    assert file.path == "a.txt"
