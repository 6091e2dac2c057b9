"""What MLflow serves answers what LiteRT says, to every way of asking."""

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
from keras import layers
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel
from mlflow.pyfunc.scoring_server import invocations
from PIL import Image

from pipeline.data import pictures
from pipeline.tflite import convert
from pipeline.tflite.classifier import Runner
from pipeline.tracking import registry, runs, serving
from pipeline.tracking.registry import Candidate

pytestmark = pytest.mark.usefixtures("workplace")

LABELS = ["cat", "dog", "owl", "ünsal"]
URI = "models:/flopsmith-pets@champion"
SHAPE = (6, 5, 3)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, *SHAPE), np.uint8)


@pytest.fixture(scope="module")
def content(images: np.ndarray) -> bytes:
    keras.utils.set_random_seed(1)
    x = inputs = keras.Input(SHAPE)
    x = layers.Flatten()(layers.Rescaling(1 / 64, -2.0)(x))
    return convert.ptq(
        keras.Model(inputs, layers.Softmax()(layers.Dense(len(LABELS))(x))),
        images.astype(np.float32),
    )


@pytest.fixture(scope="module")
def expected(content: bytes, images: np.ndarray) -> np.ndarray:
    scores = Runner(content).scores(images)
    assert len(set(scores.argmax(axis=1))) > 1  # or a mix-up would not be seen
    return scores


@pytest.fixture(scope="module")
def registered(content: bytes, images: np.ndarray, workplace: Path) -> str:
    (workplace / registry.MODEL).write_bytes(content)
    (workplace / registry.LABELS).write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    with runs.start("pets") as run:
        registry.register(Candidate("pets", workplace, images[0], 0.9, "split", {}), run)
    return URI


@pytest.fixture(scope="module")
def model(registered: str) -> PyFuncModel:
    return mlflow.pyfunc.load_model(registered)


def saved(image: Image.Image, kind: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def picture(mode: str, size: tuple[int, int]) -> Image.Image:
    height, width = size
    rng = np.random.default_rng(3)
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 65536, size).astype(np.uint16))
    colours = Image.fromarray(rng.integers(0, 256, (height, width, 4), np.uint8), "RGBA")
    return colours.convert(mode)


def png(image: Any) -> bytes:
    return saved(Image.fromarray(np.asarray(image)), "PNG")


def text(image: Any) -> str:
    return base64.b64encode(png(image)).decode()


def answers(model: PyFuncModel, request: Any) -> list[dict[str, Any]]:
    """What a server answers, from JSON to JSON."""
    schema = model.metadata.get_input_schema()
    reply = invocations(json.dumps(request), "application/json", model, schema)
    assert reply.status == 200
    return list(json.loads(reply.response)["predictions"])


def check(rows: list[dict[str, Any]], expected: np.ndarray) -> None:
    assert [list(row["scores"].values()) for row in rows] == expected.tolist()
    assert all(list(row["scores"]) == LABELS for row in rows)
    assert [row["label"] for row in rows] == [LABELS[best] for best in expected.argmax(axis=1)]
    assert [row["score"] for row in rows] == expected.max(axis=1).tolist()


# every way of asking

WAYS = {
    "instances, files": lambda images: {"instances": [{"image": text(one)} for one in images]},
    "instances, files, no name": lambda images: {"instances": [text(one) for one in images]},
    "instances, pixels": lambda images: {"instances": [{"image": one.tolist()} for one in images]},
    "instances, pixels, no name": lambda images: {"instances": images.tolist()},
    "inputs, files": lambda images: {"inputs": [{"image": text(one)} for one in images]},
    "inputs, files, no name": lambda images: {"inputs": [text(one) for one in images]},
    "inputs, files, by column": lambda images: {"inputs": {"image": [text(i) for i in images]}},
    "inputs, pixels": lambda images: {"inputs": [{"image": one.tolist()} for one in images]},
    "inputs, pixels, no name": lambda images: {"inputs": images.tolist()},
    "inputs, pixels, by column": lambda images: {"inputs": {"image": images.tolist()}},
    "records": lambda images: {"dataframe_records": [{"image": text(one)} for one in images]},
    "split": lambda images: {
        "dataframe_split": {"columns": ["image"], "data": [[text(one)] for one in images]}
    },
}


@pytest.mark.parametrize("count", [1, 12])
@pytest.mark.parametrize("way", WAYS)
def test_a_request_is_answered_with_what_litert_says(
    model: PyFuncModel, images: np.ndarray, expected: np.ndarray, way: str, count: int
) -> None:
    check(answers(model, WAYS[way](images[:count])), expected[:count])


@pytest.mark.parametrize("kind", [png, text, np.asarray, lambda one: one.astype(np.float32)])
def test_python_may_give_bytes_text_and_arrays(
    model: PyFuncModel, images: np.ndarray, expected: np.ndarray, kind: Any
) -> None:
    table = pd.DataFrame({"image": [kind(one) for one in images]})
    check(model.predict(table).to_dict("records"), expected)


def test_base64_may_have_line_ends_or_the_start_of_a_data_url(
    model: PyFuncModel, images: np.ndarray, expected: np.ndarray
) -> None:
    given = [
        base64.encodebytes(png(images[0])).decode(),
        f"data:image/png;base64,{text(images[1])}",
    ]
    check(answers(model, {"inputs": given}), expected[:2])


def test_no_image_has_no_answer(model: PyFuncModel) -> None:
    with pytest.raises(MlflowException) as caught:
        answers(model, {"inputs": []})
    assert caught.value.get_http_status_code() == 400


def test_calls_from_several_threads_do_not_mix(
    model: PyFuncModel, images: np.ndarray, expected: np.ndarray
) -> None:
    def ask(turn: int) -> None:
        at = turn % len(images)
        check(answers(model, {"inputs": images[at : at + 1].tolist()}), expected[at : at + 1])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(200)))


# what is no image


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("!!", "'!!'. Expected: base64 of an image file"),
        ("ä", "'ä'. Expected: base64"),
        ("", r"0 bytes \(of no known kind"),
        ("aGVsbG8=", r"5 bytes \(of no known kind"),
        (text(picture("RGB", (64, 48)))[:4000], "image file is truncated"),
        (np.zeros((5, 6, 3)).tolist(), r"pixels \[5, 6, 3\]. Expected: \[6, 5, 3\]"),
        (np.zeros((6, 5)).tolist(), r"pixels \[6, 5\]. Expected: \[6, 5, 3\]"),
        (np.full(SHAPE, 256).tolist(), r"256\.\.256. Expected: 0\.\.255"),
        (np.full(SHAPE, -1).tolist(), r"-1\.\.-1. Expected: 0\.\.255"),
        (np.full(SHAPE, np.nan).tolist(), r"nan\.\.nan. Expected: 0\.\.255"),
        ([], r"pixels \[0\]"),
        ([[1], [2, 3]], "inhomogeneous"),
        (None, "Expected"),
        (7, r"pixels \[\]"),
        ({"a": 1}, "Expected"),
    ],
)
def test_what_is_no_image_is_refused_as_a_fault_of_the_request(
    model: PyFuncModel, given: Any, what: str
) -> None:
    with pytest.raises(MlflowException, match=what) as caught:
        answers(model, {"dataframe_records": [{"image": given}]})
    assert caught.value.get_http_status_code() == 400
    assert "cannot read an image. Received: " in str(caught.value)


# the same pixels as `flopsmith predict`


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


FILES = {
    **{
        mode: saved(picture(mode, (40, 31)), "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")
    },
    "16 bits": saved(picture("I;16", (31, 40)), "PNG"),
    "of the model's size": saved(picture("RGB", SHAPE[:2]), "PNG"),
    "smaller": saved(picture("RGB", (3, 4)), "PNG"),
    "transparent palette": saved(picture("P", (9, 9)), "PNG", transparency=3),
    "large JPEG": saved(picture("RGB", (600, 900)), "JPEG"),
    "grey JPEG": saved(picture("L", (600, 400)), "JPEG"),
    "CMYK JPEG": saved(picture("CMYK", (64, 48)), "JPEG"),
    "turned JPEG": saved(picture("RGB", (64, 48)), "JPEG", exif=turned()),
    "WebP": saved(picture("RGBA", (64, 48)), "WEBP"),
    "GIF": saved(picture("P", (64, 48)), "GIF"),
    "BMP": saved(picture("RGB", (64, 48)), "BMP"),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", FILES)
def test_a_file_is_decoded_as_flopsmith_predict_does_it(kind: str, channels: int) -> None:
    ours = pictures.decode(io.BytesIO(FILES[kind]), SHAPE[:2], channels)
    served = serving.decode(FILES[kind], SHAPE[:2], channels)
    assert served.dtype == ours.dtype
    assert np.array_equal(served, ours)


def test_the_same_files_are_unreadable() -> None:
    assert serving.UNREADABLE == pictures.UNREADABLE


# in processes of its own


def post(port: int, request: Any) -> Any:
    body = json.dumps(request).encode()
    headers = {"Content-Type": "application/json"}
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body, headers)
    with urllib.request.urlopen(asked, timeout=60) as reply:
        return json.load(reply)["predictions"]


def mlflow_models(command: str, *more: str) -> list[str]:
    options = ["-m", URI, "--env-manager", "local", *more]
    return [sys.executable, "-m", "mlflow", "models", command, *options]


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
def test_mlflow_models_predict(
    registered: str, images: np.ndarray, expected: np.ndarray, workplace: Path
) -> None:
    (workplace / "input.json").write_text(json.dumps({"inputs": [text(one) for one in images]}))
    ended = subprocess.run(
        mlflow_models("predict", "-i", "input.json"),
        capture_output=True,
        text=True,
        check=True,
        cwd=workplace,
        timeout=300,
    )
    check(json.loads(ended.stdout)["predictions"], expected)


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
        wait_for(port, server)
        check(post(port, {"instances": [text(one) for one in images]}), expected)
        check(post(port, {"inputs": images.tolist()}), expected)
        with pytest.raises(urllib.error.HTTPError, match="400"):
            post(port, {"inputs": ["not an image"]})
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
        log.close()


def wait_for(port: int, server: "subprocess.Popen[bytes]", seconds: float = 200) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(f"no answer from port {port} within {seconds} s")
