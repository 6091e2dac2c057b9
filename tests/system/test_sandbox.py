"""Commands on broken models: one line, whatever the runtime does."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.tflite import convert, write

RUN = "import sys; from pipeline.system import sandbox; sys.exit(sandbox.run(lambda: {}))"
FLOPSMITH = [sys.executable, "-m", "pipeline"]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def guarded(expression: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-c", RUN.format(expression))


def test_a_command_returns_its_exit_code_and_prints() -> None:
    ended = guarded("print('said') or 7")
    assert (ended.returncode, ended.stdout) == (7, "said\n")


def test_the_exit_code_of_sys_exit_is_kept() -> None:
    assert guarded("sys.exit(3)").returncode == 3


def test_an_error_keeps_its_traceback() -> None:
    ended = guarded("1 / 0")
    assert ended.returncode == 70
    assert ended.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE])
def test_a_signal_becomes_an_error_that_names_it(number: signal.Signals) -> None:
    ended = guarded(f"__import__('os').kill(__import__('os').getpid(), {int(number)})")
    assert f"died of signal {int(number)} ({number.name})" in ended.stderr.splitlines()[-1]


def interrupted(number: signal.Signals, whole_group: bool) -> tuple[int, str]:
    """Exit code and words of a command that is signalled while it works."""
    work = "print('ready', flush=True) or __import__('time').sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", RUN.format(work)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    (os.killpg if whole_group else os.kill)(process.pid, number)
    _, said = process.communicate(timeout=30)
    return process.returncode, said


def test_ctrl_c_is_left_to_the_command() -> None:
    """Both processes get it; the one that works says so, the other waits for it."""
    code, said = interrupted(signal.SIGINT, whole_group=True)
    assert code == 70
    assert said.count("Traceback") == 1
    assert said.splitlines()[-1] == "KeyboardInterrupt"


def test_what_ends_the_parent_ends_the_command() -> None:
    """And is no fault of the model."""
    assert interrupted(signal.SIGTERM, whole_group=False) == (128 + signal.SIGTERM, "")


@pytest.fixture(scope="module")
def absurd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a scale that LiteRT divides by until it ends the process."""
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, padding="same")(inputs)
    x = layers.GlobalAveragePooling2D()(layers.Add()([x, layers.Conv2D(4, 1)(x)]))
    model = keras.Model(inputs, layers.Softmax()(layers.Dense(3)(x)))
    noise = np.random.default_rng(0).uniform(0, 255, (8, 8, 8, 1)).astype(np.float32)
    content = convert.ptq(model, noise)

    def change(root: Any) -> None:
        graph = root.subgraphs[0]
        codes = [code.builtinCode for code in root.operatorCodes]
        (add,) = (op for op in graph.operators if codes[op.opcodeIndex] == 0)  # ADD
        graph.tensors[add.outputs[0]].quantization.scale = [1.5e34]

    path = tmp_path_factory.mktemp("absurd") / "absurd.tflite"
    path.write_bytes(write.changed(content, change))
    return path


def test_a_model_that_ends_the_runtime_is_refused_in_one_line(absurd: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("L", (8, 8)).save(tmp_path / "black.png")
    ended = run(*FLOPSMITH, "predict", str(absurd), str(tmp_path / "black.png"))
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert "cannot be run safely: LiteRT died of signal" in ended.stderr
