"""Running the Edge TPU compiler: a program that prints what the real one does stands in for it."""

import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import targets
from pipeline.errors import ToolError
from pipeline.targets.edgetpu import compiler

VERSION = "Edge TPU Compiler version 16.0.384591198\n"
STARTED = VERSION + "Started a compilation timeout timer of 180 seconds.\n"
COMPILED = (
    STARTED
    + """
Model compiled successfully in 386 ms.

Input model: model.tflite
Input size: 11.31MiB
Output model: model_edgetpu.tflite
Output size: 12.04MiB
On-chip memory used for caching model parameters: 6.15MiB
On-chip memory remaining for caching model parameters: 5.75KiB
Off-chip memory used for streaming uncached model parameters: 512.00KiB
Number of Edge TPU subgraphs: 1
Total number of operations: 5
Operation log: model_edgetpu.log
"""
)
TABLE = """
Operator                       Count      Status

SOFTMAX                        1          More than one subgraph is not supported
CONV_2D                        1          More than one subgraph is not supported
CONV_2D                        1          Mapped to Edge TPU
MEAN                           1          Operation not supported
FULLY_CONNECTED                1          Mapped to Edge TPU
Compilation child process completed within timeout period.
Compilation succeeded!
"""
FAILURES = {
    "ERROR: Didn't find op for builtin opcode 'CONV_2D' version '6'\n\nERROR: Registration failed."
    "\n\nInvalid model: m\nModel could not be parsed\n": (
        "Didn't find op for builtin opcode 'CONV_2D' version '6'"
    ),
    "Invalid model: m.tflite\nModel not quantized\n": "Model not quantized",
    "\nInternal compiler error. Aborting! \n": "Internal compiler error",
    "Compilation failed: Compilation failed due to large activation tensors in model.\n"
    "Compilation child process completed within timeout period.\nCompilation failed! \n": (
        "Compilation failed due to large activation tensors in model."
    ),
}

Install = Callable[[str], Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a compiler on the PATH that keeps its arguments and prints a text."""

    def installed(printed: str) -> Path:
        program, seen = tmp_path / compiler.PROGRAM, tmp_path / "seen"
        program.write_text(
            f"#!{sys.executable}\nimport pathlib, sys\n"
            f"pathlib.Path({str(seen)!r}).write_text(' '.join(sys.argv[1:]))\n"
            f"assert pathlib.Path(sys.argv[-1]).is_file()\nprint({printed!r})\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(tmp_path))
        return seen

    return installed


def test_there_may_be_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compiler.compiled(b"") is None


def test_the_compiler_is_asked_for_its_table(install: Install) -> None:
    seen = install(COMPILED + TABLE)
    found = compiler.compiled(b"model")
    assert seen.read_text().startswith("-s -o ")
    assert found is not None
    assert found.version == "16.0"
    assert found.refused is None
    assert ("CONV_2D", 1, "Mapped to Edge TPU") in found.statuses
    assert len(found.statuses) == 5
    assert found.cached_bytes == round(6.15 * 2**20)
    assert found.streamed_bytes == 512 * 2**10


@pytest.mark.parametrize("printed", FAILURES, ids=FAILURES.get)
def test_a_refused_file_has_the_compilers_reason(printed: str) -> None:
    assert compiler.parsed(STARTED + printed).refused == FAILURES[printed]


@pytest.mark.parametrize("printed", ["", "Segmentation fault", COMPILED])
def test_what_the_compiler_never_prints_is_an_error_of_the_tool(printed: str) -> None:
    with pytest.raises(ToolError, match=f"{compiler.PROGRAM} .*Received: "):
        compiler.parsed(printed)


def test_a_compiler_that_cannot_be_run_is_an_error_of_the_tool(install: Install) -> None:
    program = install("").with_name(compiler.PROGRAM)
    program.write_text("#!/no/such/interpreter\n")
    with pytest.raises(ToolError, match=f"{compiler.PROGRAM}. Received: "):
        compiler.compiled(b"model")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Operators CONV_2D, CONV_2D, MEAN, FULLY_CONNECTED, SOFTMAX."""
    import keras
    import numpy as np
    from keras import layers

    from pipeline.tflite import convert

    inputs = keras.Input((8, 8, 4))
    x = layers.Conv2D(4, 3, activation="relu")(inputs)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3)(x))
    model = keras.Model(inputs, layers.Softmax()(layers.Dense(8)(x)))
    place = tmp_path_factory.mktemp("network")
    convert.save_float(model, place)
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 4)).astype("float32")
    return convert.convert_int8(place, images, io="int8", per_channel_dense=False)


def test_the_verdict_is_the_compilers_where_there_is_one(network: bytes, install: Install) -> None:
    install(COMPILED + TABLE)
    verdict = targets.check("edgetpu", network)
    assert verdict.runs
    assert [(op.name, op.placement, op.reason) for op in verdict.operators] == [
        ("CONV_2D", "tpu", None),
        ("CONV_2D", "cpu", "More than one subgraph is not supported"),
        ("MEAN", "cpu", "Operation not supported"),
        ("FULLY_CONNECTED", "tpu", None),
        ("SOFTMAX", "cpu", "More than one subgraph is not supported"),
    ]
    assert verdict.extras["by"] == "edgetpu_compiler 16.0"
    assert verdict.extras["parameter_bytes"] == round(6.15 * 2**20) + 512 * 2**10
    assert verdict.extras["streamed_bytes"] == 512 * 2**10
    assert len(verdict.extras["warnings"]) == 1


def test_an_operator_that_the_compiler_does_not_list_is_not_mapped(
    network: bytes, install: Install
) -> None:
    install(COMPILED + "CONV_2D   2   Mapped to Edge TPU\n")
    verdict = targets.check("edgetpu", network)
    assert verdict.mapped == 2
    assert verdict.operators[2].reason == "edgetpu_compiler does not say"


def test_a_refusal_is_the_compilers_where_there_is_one(network: bytes, install: Install) -> None:
    install(VERSION + next(iter(FAILURES)))
    verdict = targets.check("edgetpu", network)
    assert not verdict.runs
    assert verdict.refused == "Didn't find op for builtin opcode 'CONV_2D' version '6'"
    assert verdict.mapped == 0
