"""Stores that cannot be used: one line, within seconds, and what to do."""

import http.server
import logging
import os
import resource
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest

from pipeline.errors import OutputError
from pipeline.tracking import runs, store, view
from pipeline.tracking.resume import EXPERIMENT

ROOT = Path(store.__file__).parents[2]
SECONDS = 30  # 0.1 on an idle machine; MLflow's own defaults add up to minutes


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_process: None) -> Path:
    """Work in an empty directory, with MLflow's settings as a user has them."""
    monkeypatch.chdir(tmp_path)
    for name in (store.URI, store.FILE_STORE, store.QUIET, *store.PATIENT):
        monkeypatch.setenv(name, "")  # so that what is set inside is undone as well
        monkeypatch.delenv(name)
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", None)
    return tmp_path


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    def message(uri: str) -> str:
        monkeypatch.setenv(store.URI, uri)
        start = time.monotonic()
        with pytest.raises(OutputError) as caught, runs.start("mobile"):
            pass
        assert time.monotonic() - start < SECONDS
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return message


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers every request with one status."""

    status = 500

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Retry-After", "60")
        self.end_headers()
        self.wfile.write(b"<html>Hello</html>")

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def answering() -> Iterator[Callable[[int], str]]:
    """A server that answers every request with one status."""
    servers: list[http.server.HTTPServer] = []

    def address(status: int) -> str:
        kind = type("Handler", (Answers,), {"status": status})
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield address
    for server in servers:
        server.shutdown()
        server.server_close()


# servers


def test_a_server_that_is_down(refused: Callable[[str], str]) -> None:
    said = refused("http://127.0.0.1:9")
    assert "(Connection refused)" in said
    assert "Start the server" in said


def test_a_server_that_does_not_exist(refused: Callable[[str], str]) -> None:
    assert "Start the server" in refused("http://no-such-host.invalid:5000")


def test_a_server_that_hangs(
    refused: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(store.QUICK, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "(it does not answer)" in refused(f"http://127.0.0.1:{silent.getsockname()[1]}")


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "MLFLOW_TRACKING_USERNAME"),
        (403, "MLFLOW_TRACKING_USERNAME"),
        (404, "Give the address of an MLflow server"),
        (500, "log of the server"),
        (503, "log of the server"),
    ],
)
def test_a_server_that_refuses(
    refused: Callable[[str], str], answering: Callable[[int], str], status: int, advice: str
) -> None:
    said = refused(answering(status))
    assert f"(HTTP {status})" in said
    assert advice in said


def test_a_server_of_something_else(
    refused: Callable[[str], str], answering: Callable[[int], str]
) -> None:
    assert "Give the address of an MLflow server" in refused(answering(200))


def test_a_certificate_that_nobody_has_signed(refused: Callable[[str], str], place: Path) -> None:
    made = subprocess.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 1 "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost",
        shell=True,
        cwd=place,
        capture_output=True,
    )
    if made.returncode:
        pytest.skip("needs openssl")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place / "cert.pem", place / "key.pem")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    said = refused(f"https://localhost:{server.server_port}")
    server.shutdown()
    server.server_close()
    assert "certificate verify failed" in said
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in said


def test_a_password_is_not_shown(refused: Callable[[str], str]) -> None:
    said = refused("http://me:secret@127.0.0.1:9")
    assert "secret" not in said
    assert "http://me:***@127.0.0.1:9" in said


def test_what_the_user_sets_for_retries_is_kept(
    refused: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    refused("http://127.0.0.1:9")
    with store.quick():
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "2"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "2"


# before data is read


def test_a_look_refuses_what_cannot_be_used_and_makes_nothing(
    monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    for uri in ("", "sqlite:///new.db", f"sqlite:///{place}/new.db", "file:./mlruns"):
        monkeypatch.setenv(store.URI, uri)
        store.look()
    assert not list(place.iterdir())
    (place / "old.db").write_text("something else, and long enough")
    for uri in ("http://127.0.0.1:9", "sqlite:///old.db", "foo://bar"):
        monkeypatch.setenv(store.URI, uri)
        monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", None)
        with pytest.raises(OutputError):
            store.look()


# databases


@pytest.mark.parametrize("content", [b"\x01\x02" * 3000, b"hello " * 500])
def test_a_file_that_is_no_database(
    refused: Callable[[str], str], place: Path, content: bytes
) -> None:
    (place / "mlflow.db").write_bytes(content)
    assert "(file is not a database)" in refused("sqlite:///mlflow.db")
    assert (place / "mlflow.db").read_bytes() == content


@pytest.mark.slow
@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("sqlite:////dev/full", "not a database file"),
        ("sqlite:////proc/mlflow.db", "No such file or directory"),
        ("sqlite:////dev/null/mlflow.db", "File exists"),
        ("foo://bar", "MLflow knows no such kind of store"),
        ("postgresql://me:secret@127.0.0.1:9/db", ""),
        ("mysql+pymysql://me:secret@127.0.0.1:9/db", ""),
        ("sqlite+nothing:///mlflow.db", "Can't load plugin"),
        ("file:///dev/null/mlruns", "Not a directory"),
    ],
)
def test_a_store_that_cannot_be(refused: Callable[[str], str], uri: str, why: str) -> None:
    said = refused(uri)
    assert why in said
    assert "secret" not in said
    assert store.URI in said


def test_a_directory_is_no_database(refused: Callable[[str], str], place: Path) -> None:
    (place / "mlflow.db").mkdir()
    assert "not a database" in refused("sqlite:///mlflow.db")


def test_no_room_for_a_database(refused: Callable[[str], str], place: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        assert "(File too large)" in refused("sqlite:///mlflow.db")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(place.iterdir())


def test_a_database_of_another_version_names_the_command(
    refused: Callable[[str], str], place: Path, empty_store: Path
) -> None:
    shutil.copyfile(empty_store, place / "mlflow.db")
    with sqlite3.connect(place / "mlflow.db") as opened:
        opened.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    uri = f"sqlite:///{place}/mlflow.db"
    assert f"mlflow db upgrade {uri}" in refused(uri)


def test_a_deleted_experiment_can_be_put_right(
    refused: Callable[[str], str], place: Path, empty_store: Path
) -> None:
    shutil.copyfile(empty_store, place / "mlflow.db")
    uri = f"sqlite:///{place}/mlflow.db"
    client = mlflow.MlflowClient(uri)
    client.delete_experiment(client.create_experiment(EXPERIMENT))
    assert "MLFLOW_EXPERIMENT_NAME" in refused(uri)


@pytest.mark.slow
def test_two_runs_make_the_same_new_database_at_once(place: Path) -> None:
    code = "from pipeline.tracking import runs\nwith runs.start('x') as run: print(run.run_id)"
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    started = []
    for number, uri in enumerate(("sqlite:///mlflow.db", f"sqlite:///{place}/mlflow.db", "")):
        own = place / f"tmp{number}"  # MLflow's own lock lies there
        own.mkdir()
        env = {**clean, "PYTHONPATH": str(ROOT), store.URI: uri, "TMPDIR": str(own)}
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", code],
                cwd=place,
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    said = [one.communicate(timeout=300) for one in started]
    assert [one.returncode for one in started] == [0, 0, 0], said
    made = {out.strip() for out, _ in said}
    client = mlflow.MlflowClient(f"sqlite:///{place}/mlflow.db")
    (found,) = client.search_experiments(filter_string="name = 'flopsmith'")
    assert {run.info.run_id for run in client.search_runs([found.experiment_id])} == made
    assert len(made) == 3
    assert not list(place.glob(".mlflow.db*"))


# directories of files


def test_a_store_of_files_is_used_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, place: Path
) -> None:
    monkeypatch.setenv(store.URI, "file:./mlruns")
    with caplog.at_level(logging.WARNING, "flopsmith"), runs.start("mobile") as run:
        run.params({"seed": 1})
    assert "MLflow gives up stores of files" in caplog.text
    assert view.hint(run).startswith(f"{store.FILE_STORE}=true mlflow ui ")
    assert list(place.glob(f"mlruns/*/{run.run_id}/params/seed"))


def test_a_user_who_allows_files_is_told_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv(store.URI, f"file:{tmp_path}/mlruns")
    monkeypatch.setenv(store.FILE_STORE, "true")
    with caplog.at_level(logging.WARNING, "flopsmith"), runs.start("mobile"):
        pass
    assert not caplog.records


# words


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("HTTPConnectionPool(): (NewConnectionError: [Errno 111] Connection refused'))", None),
        ("(sqlite3.OperationalError) database or disk is full\n[SQL: INSERT ...]", None),
        ("API request to endpoint /x failed with error code 401 != 200. Body: ''", "HTTP 401"),
        ('ReadTimeoutError("Read timed out. (read timeout=5)")', "it does not answer"),
        ("ResponseError('too many 503 error responses')", "HTTP 503"),
        ("", "OSError"),
        ("one\ntwo", "one"),
    ],
)
def test_a_reason_is_a_few_words(text: str, said: str | None) -> None:
    found = store.reason(OSError(text))
    assert found in (said or text)
    assert found == (said or found)
    assert "\n" not in found
    assert found


@pytest.mark.parametrize(
    ("uri", "files"),
    [
        ("file:./mlruns", True),
        ("mlruns", True),
        ("/srv/mlruns", True),
        ("sqlite:///mlflow.db", False),
        ("http://here:5000", False),
        ("databricks", False),
    ],
)
def test_which_stores_are_files(uri: str, files: bool) -> None:
    assert store.is_files(uri) == files
