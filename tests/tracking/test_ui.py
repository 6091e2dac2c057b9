"""The page of all runs: which store, which port, and how it ends."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import mlflow
import pytest

import pipeline
from pipeline.__main__ import main
from pipeline.tracking import ui

ROOT = Path(pipeline.__file__).parents[1]


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_without_runs_there_is_one_line_and_no_new_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ui"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("flopsmith: there are no runs here yet. Received: store=sqlite:///")
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mlflow.db").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["ui", "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("flopsmith: the port cannot be used: Address already in use.")
    assert f"Received: port={port}" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("port", ["0", "70000"])
def test_a_number_that_is_no_port_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ui", "--port", port]) == 2
    assert "--port takes a whole number in 1..65535" in capsys.readouterr().err


def test_a_server_that_is_running_already_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@there:5000")
    assert main(["ui"]) == 0
    assert "http://me:***@there:5000" in capsys.readouterr().out


@pytest.mark.slow
def test_a_store_that_cannot_be_served_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database" * 100)
    with pytest.raises(ui.ToolError, match="MLflow's page does not start: "), ui.serving(_free()):
        pass


@pytest.mark.slow
def test_the_page_is_served_until_ctrl_c(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/mlflow.db"
    mlflow.MlflowClient(store).create_experiment("mine")
    port = _free()
    command = [sys.executable, "-m", "pipeline", "ui", "--port", str(port)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": store}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() + process.stdout.readline() == (
            f"The runs are at http://127.0.0.1:{port}\nCtrl-C stops the page.\n"
        )
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as page:
            assert page.status == 200
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(60) == 0
        finally:  # leaving the block waits for it
            process.kill()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=2)


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
