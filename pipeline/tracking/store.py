"""The MLflow store: which one it is, whether it can be used, and why not, in one line.

What can be known is known within seconds and before anything is trained.
"""

import contextlib
import logging
import os
import re
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import sqlalchemy
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from pipeline.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows: two new runs at once may make the same database
    fcntl = None  # type: ignore[assignment]

STORE = "sqlite:///mlflow.db"
URI = "MLFLOW_TRACKING_URI"
FAILURES = (MlflowException, SQLAlchemyError, OSError, ImportError, ValueError)
# MLflow's own defaults, 7 retries and 120 seconds, add up to minutes for a server that is down
PATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
QUIET = "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"  # two lines per stage and trial
QUICK = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
FILE_STORE = "MLFLOW_ALLOW_FILE_STORE"
LOCK_SECONDS = 120  # another process makes the database meanwhile
NEW, GROWTH = 4_000_000, 250_000  # bytes that a new database needs, and that a run adds at least
ATTEMPTS, PAUSE = 3, 2.0  # where another program makes the database at the same time
SERVERS = ("postgresql", "mysql", "mssql")  # databases that MLflow takes, besides sqlite
# loggers that print what is said in one line here, or need not be said
LOUD = ("mlflow.store.db.utils", "urllib3.connectionpool", "mlflow.system_metrics")
log = logging.getLogger("flopsmith")

REASONS = (  # how the errors of MLflow's libraries tell what is wrong
    (r"certificate verify failed: [\w ]+", None),
    (r"(?:Connect|Read)TimeoutError|[Tt]imed out|timeout", "it does not answer"),
    (r"error code (\d{3})", r"HTTP \1"),
    (r"too many (\d{3}) error responses", r"HTTP \1"),
    (r"\[Errno -?\d+\] [\w ,-]+", None),
    (r"unsupported URI", "MLflow knows no such kind of store"),
    (r"\(\w+\.\w*Error\) [^\n]+", None),
)
ADVICE = (
    (r"HTTP 40[13]", "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
    (r"HTTP 404|valid JSON", "Give the address of an MLflow server in {variable}"),
    (r"HTTP 5", "Look into the log of the server, or name another store with {variable}"),
    (r"certificate", "Set MLFLOW_TRACKING_SERVER_CERT_PATH, or renew the certificate"),
    (r"out-of-date database schema", "Back it up, then run: mlflow db upgrade {uri}"),
    (r"deleted", "Restore it in MLflow, or name another with MLFLOW_EXPERIMENT_NAME"),
    (r"not a database", "Name another file with {variable}, or move this one away"),
    (r"full|No space", "Free some space, or name another store with {variable}"),
)


def open_client() -> MlflowClient:
    """Connect to the store that MLFLOW_TRACKING_URI names, else to a database in this directory.

    Raises:
        OutputError: It cannot be used; says why.
    """
    mlflow.set_tracking_uri(os.environ.get(URI) or STORE)
    uri = mlflow.get_tracking_uri()
    for name, value in {**PATIENT, QUIET: "true"}.items():
        os.environ.setdefault(name, value)
    for noisy in LOUD:
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    _allow_files(uri)
    with refusing(uri), quick(), _made(uri):
        client = MlflowClient()
        client.search_experiments(max_results=1)
        return client


def look() -> None:
    """Refuse a store that cannot be used, before minutes go by on reading data.

    A new database or directory is not made here: what follows may be refused for other reasons.

    Raises:
        OutputError: It cannot be used; says why.
    """
    uri = os.environ.get(URI) or STORE
    place = uri.removeprefix("sqlite:///")
    if not is_files(uri) and (place == uri or Path(place).exists()):
        open_client()


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """Let MLflow wait a few seconds for a server, unless the user has said how long."""
    changed = {k: v for k, v in QUICK.items() if os.environ.get(k) == PATIENT[k]}
    before = {name: os.environ[name] for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        os.environ.update(before)


@contextlib.contextmanager
def refusing(uri: str) -> Iterator[None]:
    """Turn what MLflow and its libraries raise into an error of one line."""
    try:
        yield
    except OutputError:
        raise
    except FAILURES as error:
        raise _unusable(uri, reason(error)) from error


def reason(error: BaseException) -> str:
    """Say in a few words why MLflow failed.

    >>> reason(OSError("HTTPConnectionPool(...): [Errno 111] Connection refused'))"))
    'Connection refused'
    """
    text = str(error).strip() or type(error).__name__
    for pattern, said in REASONS:
        if found := re.search(pattern, text):
            part = found.expand(said) if said else found.group()
            return re.sub(r"^\[Errno -?\d+\] |^\(\S+\) ", "", part).strip()
    return hidden(" ".join(text.splitlines()[0].split())[:300])


def hidden(uri: str) -> str:
    """An address without the password in it.

    >>> hidden("http://me:secret@here:5000")
    'http://me:***@here:5000'
    """
    return re.sub(r"(://[^/:@\s]*):[^/@\s]+@", r"\1:***@", uri)


def is_files(uri: str) -> bool:
    """Whether a store is a directory of files, which MLflow no longer develops."""
    return uri.startswith("file:") or (":" not in uri and uri not in ("databricks", "uc"))


def _allow_files(uri: str) -> None:
    if is_files(uri) and not os.environ.get(FILE_STORE):
        os.environ[FILE_STORE] = "true"
        log.warning(
            "MLflow gives up stores of files; %s is still used, with %s=true, which `mlflow ui` "
            "needs as well. `mlflow migrate-filestore` makes a database of it",
            *(uri, FILE_STORE),
        )


def _unusable(uri: str, why: str) -> OutputError:
    given = {"uri": hidden(uri), "variable": URI}
    advice = next(
        (text.format_map(given) for pattern, text in ADVICE if re.search(pattern, why)),
        f"Start the server, or name another store with {URI}; without it, runs are kept in "
        "mlflow.db here"
        if uri.startswith("http")
        else f"Name another store with {URI}, such as {STORE}",
    )
    return OutputError(
        f"MLflow cannot use its store, so nothing was started. Received: {URI}={hidden(uri)} "
        f"({why.rstrip('.')}). {advice}"
    )


@contextlib.contextmanager
def _made(uri: str) -> Iterator[None]:
    """Make or open a database inside: one process at a time, once it is known to be usable."""
    kind = uri.partition(":")[0].partition("+")[0]
    if kind in SERVERS:
        _connect(sqlalchemy.make_url(uri))
    database = sqlalchemy.make_url(uri).database if kind == "sqlite" else None
    if not database or database == ":memory:":
        yield
        return
    place = Path(database).absolute()
    place.parent.mkdir(parents=True, exist_ok=True)
    with _locked(place):
        _look(place)
        for _ in range(ATTEMPTS):
            try:
                MlflowClient().search_experiments(max_results=1)
                break
            except FAILURES:
                if _complete(place):
                    raise
                time.sleep(PAUSE)  # a program that knows no such lock, `mlflow ui`, makes it
        yield


def _connect(url: sqlalchemy.URL) -> None:
    """Try a database server once, for a few seconds; MLflow itself would try ten times."""
    waits = {} if url.get_backend_name() == "mssql" else {"connect_timeout": 5}
    engine = sqlalchemy.create_engine(url, connect_args=waits)
    with engine.connect():
        pass
    engine.dispose()


def _look(place: Path) -> None:
    """Look whether a database can be read and written to, before MLflow tries for minutes.

    Raises:
        OSError: It cannot be written to, or the disk is full.
        ValueError: It is no database.
    """
    if place.exists() and not place.is_file():
        raise ValueError("not a database file")
    size = place.stat().st_size if place.exists() else 0
    with tempfile.TemporaryFile(dir=place.parent) as beside:  # as SQLite's own journal is
        beside.write(bytes(GROWTH if size else NEW))
        beside.flush()
        os.fsync(beside.fileno())
    if size and not os.access(place, os.W_OK):
        raise PermissionError(13, "Permission denied", str(place))
    try:
        with contextlib.closing(sqlite3.connect(place, timeout=20)) as opened:
            opened.execute("PRAGMA schema_version")
    except sqlite3.Error as error:
        raise ValueError(str(error)) from error


def _complete(place: Path) -> bool:
    """Whether all tables of the database have been made, so that waiting would not help."""
    with contextlib.closing(sqlite3.connect(place, timeout=20)) as opened:
        found = {row[0] for row in opened.execute("SELECT name FROM sqlite_master")}
    return {"alembic_version", "experiments", "runs"} <= found and "logged_models" in found


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Keep other runs out while a database is made; the file of the lock is deleted after."""
    if fcntl is None:
        yield
        return
    path = place.with_name(f".{place.name}.lock")
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        lock = path.open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and path.stat().st_ino == os.fstat(lock.fileno()).st_ino:
                break  # and not a file that the last owner has deleted
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(11, "another run has been making it for minutes") from None
        lock.close()
        time.sleep(0.05)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.close()


def named() -> str:
    """The store that runs are written to: that of MLFLOW_TRACKING_URI, or of this directory."""
    return os.environ.get(URI) or STORE


def shown() -> str:
    """The same for people, without a password."""
    return hidden(named())
