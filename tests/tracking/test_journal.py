"""What MLflow does not take is kept, and recorded by the next command, completely and once."""

import json
import logging
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipeline.tracking import journal
from pipeline.tracking.journal import Journal
from pipeline.tracking.resume import PARENT

pytestmark = pytest.mark.usefixtures("workplace", "new_process")


@pytest.fixture
def down(monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """A client of a server that is down."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return MlflowClient("http://127.0.0.1:9")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / journal.FILE


@pytest.fixture
def run_id(client: MlflowClient) -> str:
    return str(client.create_run("0").info.run_id)


def record(to: Journal, run_id: str, place: Path) -> str:
    """Record one of everything; returns the id of the nested run."""
    (place / "model.tflite").write_bytes(b"TFL3")
    child = to.create("0", "01-search", {PARENT: run_id}, 1000)
    inner = to.create("0", "trial-0", {PARENT: child}, 1000)
    to.log(child, params={"epochs": "3"}, tags={"resumed": "false"})
    to.log(child, points=[("val/loss", 0.5, 2000, 1), ("val/loss", 0.25, 3000, 2)])
    to.data(run_id, "folder:pets", "0123", {"num_rows": 7})
    to.file(child, place / "model.tflite", "export")
    to.text(inner, "seed: 7\n", "recipe.yaml")
    to.status(inner, "FAILED")
    to.status(child, "FINISHED")
    return child


def check(client: MlflowClient, run_id: str, tmp_path: Path) -> None:
    (child,) = client.search_runs(["0"], f"tags.`{PARENT}` = '{run_id}'")
    (inner,) = client.search_runs(["0"], f"tags.`{PARENT}` = '{child.info.run_id}'")
    assert (child.info.run_name, child.info.status) == ("01-search", "FINISHED")
    assert (inner.info.run_name, inner.info.status) == ("trial-0", "FAILED")
    assert (child.data.params, child.data.tags["resumed"]) == ({"epochs": "3"}, "false")
    points = client.get_metric_history(child.info.run_id, "val/loss")
    assert [(p.step, p.value, p.timestamp) for p in points] == [(1, 0.5, 2000), (2, 0.25, 3000)]
    copy = client.download_artifacts(child.info.run_id, "export/model.tflite", str(tmp_path))
    assert Path(copy).read_bytes() == b"TFL3"
    (given,) = client.get_run(run_id).inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("folder:pets", "0123")
    assert json.loads(given.dataset.profile) == {"num_rows": 7}
    text = client.download_artifacts(inner.info.run_id, "recipe.yaml", str(tmp_path))
    assert Path(text).read_text() == "seed: 7\n"


def test_a_store_that_works_has_everything_at_once(
    client: MlflowClient, run_id: str, path: Path, tmp_path: Path
) -> None:
    to = Journal(client, path)
    record(to, run_id, tmp_path)
    assert to.waiting is None
    check(client, run_id, tmp_path)


def test_a_store_that_is_down_gets_everything_from_the_next_command(
    client: MlflowClient,
    down: MlflowClient,
    run_id: str,
    path: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = Journal(down, path)
    child = record(first, run_id, tmp_path)
    assert first.waiting == path
    assert first.real(child) is None
    assert len(caplog.records) == 1
    assert "MLflow does not record this run at present (Connection refused)" in caplog.text

    second = Journal(client, path)
    assert second.catch_up()
    assert second.waiting is None
    check(client, run_id, tmp_path)
    assert second.catch_up()
    check(client, run_id, tmp_path)


def test_what_a_store_misses_twice_is_kept_in_order(
    client: MlflowClient, down: MlflowClient, run_id: str, path: Path, tmp_path: Path
) -> None:
    record(Journal(down, path), run_id, tmp_path)
    before = path.read_text()
    again = Journal(down, path)
    assert not again.catch_up()
    assert path.read_text() == before
    again.log(run_id, tags={"note": "later"})
    assert Journal(client, path).catch_up()
    check(client, run_id, tmp_path)
    assert client.get_run(run_id).data.tags["note"] == "later"


def test_runs_that_were_made_later_are_known_to_later_calls(
    client: MlflowClient, down: MlflowClient, run_id: str, path: Path
) -> None:
    to = Journal(down, path)
    child = to.create("0", "late", {PARENT: run_id}, 1000)
    to._client = client  # the server is back
    assert to.catch_up()
    to.log(child, params={"a": "1"})
    assert to.real(child) != child
    assert client.get_run(str(to.real(child))).data.params == {"a": "1"}


def test_files_may_fail_alone(
    client: MlflowClient, path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no directory")
    experiment = client.create_experiment("no room", artifact_location=str(tmp_path / "file" / "x"))
    run_id = client.create_run(experiment).info.run_id
    to = Journal(client, path)
    to.text(run_id, "a", "a.txt")
    to.text(run_id, "b", "b.txt")
    to.log(run_id, params={"epochs": "3"})
    assert client.get_run(run_id).data.params == {"epochs": "3"}
    assert [json.loads(line)["call"] for line in path.read_text().splitlines()] == ["text"] * 2
    assert len(caplog.records) == 1


def test_what_mlflow_refuses_is_told_and_not_asked_again(
    client: MlflowClient, run_id: str, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    to = Journal(client, path)
    to.log(run_id, params={"epochs": "3"})
    to.log(run_id, params={"epochs": "4"})
    to.log(run_id, tags={"note": "goes on"})
    assert to.waiting is None
    assert "MLflow refuses a part of this run" in caplog.text
    assert client.get_run(run_id).data.tags["note"] == "goes on"


def test_a_run_that_someone_has_deleted_stops_nothing(
    client: MlflowClient, run_id: str, path: Path, tmp_path: Path
) -> None:
    client.delete_run(run_id)
    to = Journal(client, path)
    to.log(run_id, params={"epochs": "3"})
    to.status(run_id, "FINISHED")
    assert to.waiting is None


def test_a_file_that_was_moved_meanwhile_is_told(
    client: MlflowClient,
    down: MlflowClient,
    run_id: str,
    path: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    Journal(down, path).file(run_id, tmp_path / "a.png", None)
    (tmp_path / "a.png").unlink()
    assert Journal(client, path).catch_up()
    assert "a.png was moved before MLflow could keep a copy" in caplog.text


def test_ctrl_c_while_catching_up_loses_nothing(
    client: MlflowClient,
    down: MlflowClient,
    run_id: str,
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record(Journal(down, path), run_id, tmp_path)
    real, calls = Journal._send, []

    def interrupted(self: Journal, call: dict[str, object]) -> None:
        calls.append(call)
        if len(calls) == 4:
            raise KeyboardInterrupt
        real(self, call)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        patch.setattr(Journal, "_send", interrupted)
        Journal(client, path).catch_up()
    assert Journal(client, path).catch_up()
    check(client, run_id, tmp_path)


def test_without_a_file_what_is_missed_is_lost_and_the_log_says_so(
    down: MlflowClient, run_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    to = Journal(down)
    to.log(run_id, params={"epochs": "3"})
    assert to.waiting is None
    assert "misses is lost" in caplog.text


def test_what_another_store_has_missed_is_kept(
    path: Path, down: MlflowClient, run_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    Journal(down, path).log(run_id, params={"epochs": "3"})
    content = path.read_text()
    with caplog.at_level(logging.WARNING, "flopsmith"):
        journal.set_aside(path)
    (kept,) = path.parent.iterdir()
    assert kept.read_text() == content
    assert str(kept) in caplog.text
