"""What MLflow serves works in processes that have neither TensorFlow nor flopsmith."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.served import URI, check, text
from support.served import content as content
from support.served import expected as expected
from support.served import images as images
from support.served import registered as registered

pytestmark = pytest.mark.usefixtures("workplace")


def post(port: int, request: Any) -> Any:
    body = json.dumps(request).encode()
    headers = {"Content-Type": "application/json"}
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body, headers)
    with urllib.request.urlopen(asked, timeout=60) as reply:
        return json.load(reply)["predictions"]


def mlflow_models(command: str, *more: str) -> list[str]:
    options = ["-m", URI, "--env-manager", "local", *more]
    return [sys.executable, "-m", "mlflow", "models", command, *options]


@pytest.mark.slow
def test_neither_tensorflow_nor_flopsmith_is_imported(
    registered: str, images: np.ndarray, expected: np.ndarray, workplace: Path
) -> None:
    code = f"""
import sys
for name in ("tensorflow", "keras", "tf_keras", "pipeline", "search_spaces"):
    sys.modules[name] = None
import json, mlflow, pandas
table = pandas.DataFrame({{"image": json.load(sys.stdin)}})
print(mlflow.pyfunc.load_model({registered!r}).predict(table).to_json(orient="records"))
"""
    ended = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps([text(one) for one in images]),
        capture_output=True,
        text=True,
        check=True,
        cwd=workplace,
    )
    check_close(json.loads(ended.stdout), expected)


def check_close(rows: Any, expected: np.ndarray) -> None:
    """`DataFrame.to_json` keeps ten digits."""
    scores = [list(row["scores"].values()) for row in rows]
    assert np.allclose(scores, expected, atol=1e-9, rtol=0)


@pytest.mark.slow
def test_mlflow_models_serve(
    registered: str, images: np.ndarray, expected: np.ndarray, workplace: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (workplace / "serve.log").open("w")
    server = subprocess.Popen(
        mlflow_models("serve", "--port", str(port)),
        stdout=log,
        stderr=log,
        cwd=workplace,
        start_new_session=True,
    )
    try:
        wait_for(port, server, (workplace / "serve.log").read_text)
        check(post(port, {"instances": [text(one) for one in images]}), expected)
        check(post(port, {"inputs": images.tolist()}), expected)
        with pytest.raises(urllib.error.HTTPError, match="400"):
            post(port, {"inputs": ["not an image"]})
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has ended, which the error above says
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
        log.close()


def wait_for(
    port: int, server: "subprocess.Popen[bytes]", told: Callable[[], str], seconds: float = 200
) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert server.poll() is None, f"the server ended: {told()[-2000:]}"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(f"no answer from port {port} within {seconds} s")
