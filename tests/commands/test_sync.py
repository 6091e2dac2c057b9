"""What MLflow has missed is recorded later, by a command of its own."""

from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipeline.__main__ import main
from pipeline.tracking import journal
from pipeline.tracking.journal import Journal

pytestmark = pytest.mark.usefixtures("workplace", "new_process")


def left(run: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run whose records a server that is down has missed; returns the id of its MLflow run."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run_id = str(client.create_run("0").info.run_id)
    down = Journal(MlflowClient("http://127.0.0.1:9"), run / journal.FILE)
    down.log(run_id, params={"epochs": "3"}, points=[("val/loss", 0.5, 1000, 1)])
    down.status(run_id, "FINISHED")
    return run_id


def test_what_was_missed_is_recorded_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    client, place = MlflowClient(), tmp_path / "runs" / "mobile"
    place.mkdir(parents=True)
    run_id = left(place, client, monkeypatch)
    assert main(["sync", str(place)]) == 0
    assert f"{place}: 2 records, now in MLflow" in capsys.readouterr().out
    found = client.get_run(run_id)
    assert (found.data.params, found.info.status) == ({"epochs": "3"}, "FINISHED")
    assert main(["sync", str(place)]) == 0
    assert f"{place}: nothing was missed" in capsys.readouterr().out
    assert not (place / journal.FILE).exists()


def test_a_directory_that_is_none_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sync", str(tmp_path / "none")]) == 2
    assert "no such run. Received: " in capsys.readouterr().err


def test_without_runs_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["sync"]) == 0
    assert "has missed nothing" in capsys.readouterr().out
