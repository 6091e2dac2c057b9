"""MLflow's page of all runs, served from the store that runs are written to."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pipeline.errors import ToolError
from pipeline.tracking import store

SECONDS, GRACE = 180.0, 5.0  # that the server may take until it answers, and to end
SQLITE = "sqlite:///"
LOCAL = "127.0.0.1"


def address() -> str | None:
    """The address of the page where the store is a server; None where one has to be started."""
    return store.shown() if store.named().startswith(("http://", "https://")) else None


@contextlib.contextmanager
def serving(port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Run MLflow's server within the block; yields once it answers, and ends it afterwards.

    Raises:
        ToolError: there is no store here, the port is taken, or the server does not start.
    """
    uri = store.named()
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).exists():
        raise ToolError(
            f"there are no runs here yet. Received: store={uri}. Run a recipe first, go to the "
            "directory that it ran in, or set MLFLOW_TRACKING_URI"
        )
    _require_free(port)
    if store.is_files(uri):
        os.environ.setdefault(store.FILE_STORE, "true")
    words = ["--backend-store-uri", uri, "--host", LOCAL, "--port", str(port), "--workers", "1"]
    for number in (signal.SIGTERM, signal.SIGHUP):  # they stop the page as Ctrl-C does
        signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryFile() as said:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *words],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the server
        )
        try:
            _wait_for_answer(server, port, said)
            yield server
        finally:
            _end(server)


def wait(server: "subprocess.Popen[bytes]") -> int:
    """Wait until Ctrl-C, or until the server fails; returns the exit code of the command."""
    try:
        server.wait()
    except KeyboardInterrupt:
        return 0
    return 1


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOCAL, port))
        except OSError as error:
            raise ToolError(
                f"the port cannot be used: {error.strerror}. Received: port={port}. Give another "
                f"with --port, as in --port {port % 65535 + 1}"
            ) from error


def _wait_for_answer(server: "subprocess.Popen[bytes]", port: int, said: IO[bytes]) -> None:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://{LOCAL}:{port}/health", timeout=2).close()
            return
        time.sleep(0.2)
    said.seek(0)
    lines = said.read().decode("utf-8", "replace").strip().splitlines() or ["it said nothing"]
    raise ToolError(
        f"MLflow's page does not start: {lines[-1].strip()[:300]}. Received: port={port}, "
        f"store={store.shown()}"
    )


def _end(server: "subprocess.Popen[bytes]") -> None:
    """End the server and the processes that it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(GRACE)
