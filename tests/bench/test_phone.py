"""A phone is found, given a file, and its answer read; a stand-in for `adb` plays the phone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from keras import layers

from pipeline.bench import phone
from pipeline.errors import ToolError
from pipeline.tflite import convert

# What LiteRT's benchmark_model prints, on two phones years apart.
OLD = """STARTING!
Min num runs: [50]
Loaded model /data/local/tmp/a.tflite
Initialized session in 20.283ms.
Running benchmark for at least 1 iterations and at least 0.5 seconds
count=2 first=339304 curr=266325 min=266325 max=339304 avg=302814 std=36489

Running benchmark for at least 50 iterations and at least 1 seconds
count=50 first=266601 curr=266931 min=265837 max=268116 avg=266473 std=419

Inference timings in us: Init: 20283, First inference: 339304, Warmup (avg): 302814, \
Inference (avg): 266473
Peak memory footprint (MB): init=0 overall=12.8672
"""
NEW = """INFO: STARTING!
INFO: Running benchmark for at least 50 iterations and at least 1 seconds.
INFO: count=50 first=32891 curr=33978 min=32641 max=34005 avg=33209.4 std=450 p5=32700 median=33100
INFO: Inference timings in us: Init: 1.5e+03, First inference: 49060, Warmup (avg): 34825.1, \
Inference (avg): 33209.4
"""
SCRIPT = """#!{python}
import json, sys
with open({calls!r}, "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] == "devices":
    print({devices!r}, end="")
elif "benchmark_model" in sys.argv[4] and sys.argv[3] == "shell":
    print({said!r})
    sys.exit({code})
"""


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    (path := tmp_path / "benchmark_model").write_bytes(b"\\x7fELF")
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    inputs = keras.Input((8, 8, 1))
    network = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(inputs)))
    path = tmp_path_factory.mktemp("model") / "model.tflite"
    path.write_bytes(convert.convert_float(network))
    return path


class Plug:
    """Puts a stand-in for `adb` on the PATH, and reads what it was called with."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch = folder, monkeypatch
        self.log = folder / "calls.txt"

    def in_(self, *devices: str, said: str = OLD, code: int = 0) -> None:
        listed = "\n".join(["List of devices attached", *devices, "", ""])
        text = SCRIPT.format(
            python=sys.executable, calls=str(self.log), devices=listed, said=said, code=code
        )
        (place := self.folder / "bin").mkdir()
        (place / "adb").write_text(text)
        (place / "adb").chmod(0o755)
        self.patch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")

    @property
    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def plug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plug:
    return Plug(tmp_path, monkeypatch)


def test_a_file_is_pushed_run_and_deleted(plug: Plug, tool: Path, model: Path) -> None:
    plug.in_("0A1B\tdevice")
    found = phone.time_file(phone.connect("any", tool), model, threads=2, runs=7, seconds=0.5)
    assert (found.serial, found.threads, found.mean_ms) == ("0A1B", 2, 266.473)
    steps = plug.calls[1:]
    assert all(step[:2] == ["-s", "0A1B"] for step in steps)
    place = steps[0][-1]
    assert ["push", str(model), f"{place}/model.tflite"] in [step[2:] for step in steps]
    assert steps[-2][3:] == [
        f"{place}/benchmark_model",
        f"--graph={place}/model.tflite",
        "--num_threads=2",
        "--num_runs=7",
        "--min_secs=0.5",
    ]
    assert steps[-1][2:] == ["shell", "rm", "-rf", place]


def test_the_answer_of_an_old_program_is_read() -> None:
    found = phone.parsed(OLD, "0A1B", 1)
    assert (found.runs, found.min_ms, found.max_ms, found.std_ms) == (50, 265.837, 268.116, 0.419)
    assert found.load_ms == 20.283


def test_the_answer_of_a_new_program_is_read() -> None:
    found = phone.parsed(NEW, "0A1B", 1)
    assert (found.mean_ms, found.min_ms, found.load_ms) == (33.2094, 32.641, 1.5)


def test_a_mean_alone_is_enough() -> None:
    found = phone.parsed("Inference (avg): 1000", "0A1B", 1)
    assert (found.mean_ms, found.min_ms, found.runs) == (1.0, None, None)


def test_an_answer_without_a_time_is_an_error_that_repeats_it() -> None:
    with pytest.raises(ToolError, match=r"benchmark_model .*Received: Aborted"):
        phone.parsed("STARTING!\nAborted\n\n", "0A1B", 1)


def test_a_program_that_fails_is_an_error_and_leaves_nothing(
    plug: Plug, tool: Path, model: Path
) -> None:
    plug.in_("0A1B\tdevice", said="Failed to load model", code=1)
    device = phone.connect("0A1B", tool)
    with pytest.raises(ToolError, match=r"exit code 1. Received: Failed to load model"):
        phone.time_file(device, model, 1, 7, 0.5)
    assert plug.calls[-1][2:5] == ["shell", "rm", "-rf"]


def test_without_adb_there_is_an_error_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=r"Received: --device .*platform-tools"):
        phone.connect("any", tool)


@pytest.mark.parametrize(
    ("devices", "serial", "message"),
    [
        ([], "any", "Received: --device any. Found: none"),
        (["0A\tdevice"], "0B", "Received: --device 0B. Found: 0A"),
        (["0A\tunauthorized"], "any", "0A .*Received: unauthorized. Unlock"),
        (["0A\toffline"], "0A", "0A .*Received: offline. Plug"),
        (
            ["0A\tno permissions (udev); see [url]"],
            "any",
            "Received: no permissions.* udev",
        ),
    ],
    ids=str,
)
def test_a_phone_that_is_not_ready_is_an_error_that_says_why(
    plug: Plug, tool: Path, devices: list[str], serial: str, message: str
) -> None:
    plug.in_(*devices)
    with pytest.raises(ToolError, match=message):
        phone.connect(serial, tool)


def test_any_phone_is_one_that_is_ready(plug: Plug, tool: Path) -> None:
    plug.in_("0A\tunauthorized", "0B\tdevice")
    assert phone.connect("any", tool).serial == "0B"


@pytest.mark.parametrize("given", [None, Path("missing")], ids=str)
def test_without_the_program_there_is_an_error_that_says_where_it_comes_from(
    plug: Plug, given: Path | None
) -> None:
    plug.in_("0A\tdevice")
    with pytest.raises(ToolError, match=f"Received: --benchmark-model {given}.*{phone.SOURCE}"):
        phone.connect("any", given)


def test_the_command_compares_two_files_on_a_phone(plug: Plug, tool: Path, model: Path) -> None:
    plug.in_("0A1B\tdevice")
    command = [sys.executable, "-m", "pipeline", "bench", str(model), "--vs", str(model)]
    command += ["--device", "any", "--benchmark-model", str(tool)]
    shown = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    found = json.loads(shown.stdout)
    assert found["device"] == "0A1B"
    assert [file["timings"][0]["mean_ms"] for file in found["files"]] == [266.473, 266.473]
    assert found["comparison"]["speedups"] == [{"threads": 1, "speedup": 1.0}]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "266.473" in told
    assert "1.00 times as fast" in told
