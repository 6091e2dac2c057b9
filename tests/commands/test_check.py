"""`flopsmith check`: what it prints, its exit codes, bad input."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from pipeline import targets
from pipeline.__main__ import main
from pipeline.commands import check
from pipeline.errors import ToolError
from pipeline.targets import Placement, Verdict
from pipeline.tflite import convert

FIELDS = ["target", "runs", "refused", "mapped", "total"]


@pytest.fixture(autouse=True)
def _no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def classifier() -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    x = layers.Activation("hard_swish")(layers.Conv2D(4, 3)(inputs))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(x))
    return keras.Model(inputs, layers.Softmax()(layers.Dense(3)(x)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file for the Edge TPU, and a float one that it refuses."""
    place = tmp_path_factory.mktemp("models")
    model = classifier()
    convert.save_float(model, place / "saved_model")
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1)).astype("float32")
    int8 = convert.convert_int8(place / "saved_model", images, io="int8", per_channel_dense=False)
    (place / "int8.tflite").write_bytes(int8)
    (place / "float.tflite").write_bytes(convert.convert_float(model))
    return place


@pytest.fixture
def fake_targets(monkeypatch: pytest.MonkeyPatch) -> dict[str, SimpleNamespace]:
    """The only targets there are: name -> module, to be filled by the test."""
    modules: dict[str, SimpleNamespace] = {}
    monkeypatch.setattr(targets, "names", lambda: tuple(sorted(modules)))
    monkeypatch.setattr(targets, "load", lambda name: modules[name])
    return modules


def module(verdict: Verdict | Exception, missing: str | None = None) -> SimpleNamespace:
    def check(model: bytes) -> Verdict:
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    return SimpleNamespace(missing=lambda: missing, check=check)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the command with input that the user has to put right; the line that says so."""

    def line(*argv: object) -> str:
        assert main(["check", *map(str, argv)]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("flopsmith: ")
        assert said.err.count("\n") == 1
        return said.err

    return line


def test_operators_are_grouped_by_reason(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(folder / "int8.tflite"), "--target", "edgetpu"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[:4] == [
        "edgetpu: runs; 1 of 6 operators mapped",
        "  1  tpu  1 CONV_2D",
        "  1  cpu  1 HARD_SWISH: is not supported",
        "  4  cpu  1 CONV_2D, 1 MEAN, 1 FULLY_CONNECTED, 1 SOFTMAX: "
        "comes after HARD_SWISH 1 on the CPU; there is one piece for the TPU",
    ]
    assert "  by: prediction" in printed


def test_every_operator_is_listed_if_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(folder / "int8.tflite"), "--target", "edgetpu", "--ops"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[1:3] == [
        "  0  CONV_2D          tpu",
        "  1  HARD_SWISH       cpu  is not supported",
    ]


def test_a_refused_file_ends_with_exit_code_1(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(folder / "float.tflite"), "--target", "edgetpu"]) == 1
    assert capsys.readouterr().out.startswith("edgetpu: does not run. the model is not quantized")


def test_one_refusal_of_several_targets_counts(folder: Path) -> None:
    both = ["--target", "edgetpu", "--target", "mobile_cpu"]
    assert main(["check", str(folder / "float.tflite"), *both]) == 1
    assert main(["check", str(folder / "int8.tflite"), *both]) == 0


def test_json_is_one_object(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [str(folder / "int8.tflite"), "--target", "edgetpu", "--json"]
    assert main(["check", *argv]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found)[:5] == FIELDS
    assert [found[key] for key in FIELDS] == ["edgetpu", True, None, 1, 6]
    assert found["by"] == "prediction"
    assert found["operators"][1] == {
        "index": 1,
        "name": "HARD_SWISH",
        "placement": "cpu",
        "reason": "is not supported",
    }


def test_without_a_target_all_that_are_installed_are_asked(
    folder: Path,
    fake_targets: dict[str, SimpleNamespace],
    capsys: pytest.CaptureFixture[str],
) -> None:
    operators = (Placement(0, "CONV_2D", "here", None),)
    extras = {"cycles": 1234567, "milliseconds": 0.25, "warnings": ["hot", "loud"], "none": None}
    fake_targets["a"] = module(Verdict("a", True, None, operators, extras))
    fake_targets["b"] = module(ToolError("never asked"), missing="Install b first")
    assert main(["check", str(folder / "int8.tflite")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "a: runs; 1 of 1 operators mapped",
        "  1  here  1 CONV_2D",
        "  cycles: 1,234,567",
        "  milliseconds: 0.25",
        "  warning: hot",
        "  warning: loud",
        "",
        "b: not asked. Install b first",
        "",
    ]


def test_a_target_that_fails_does_not_keep_the_others_from_being_asked(
    folder: Path,
    fake_targets: dict[str, SimpleNamespace],
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake_targets["a"] = module(ToolError("it fell over"))
    fake_targets["b"] = module(Verdict("b", True, None, ()))
    assert main(["check", str(folder / "int8.tflite")]) == 2
    said = capsys.readouterr()
    assert said.out.startswith("b: runs")
    assert said.err == "flopsmith: target a: it fell over\n"


def test_a_target_that_is_not_installed_is_an_error_if_asked_for(
    folder: Path, fake_targets: dict[str, SimpleNamespace], refused: Callable[..., str]
) -> None:
    fake_targets["b"] = module(ToolError("never asked"), missing="Install b first")
    said = refused(folder / "int8.tflite", "--target", "b")
    assert said == "flopsmith: target b: Install b first\n"


def test_an_unknown_target_is_an_error_that_lists_the_known(
    folder: Path, refused: Callable[..., str]
) -> None:
    said = refused(folder / "int8.tflite", "--target", "toaster")
    assert "'toaster'. Known: " in said
    assert "edgetpu" in said


@pytest.mark.parametrize("argv", [[], ["--target", "edgetpu", "--target", "mobile_cpu"]])
def test_json_takes_one_target(folder: Path, argv: list[str], refused: Callable[..., str]) -> None:
    assert "--json takes one --target" in refused(folder / "int8.tflite", "--json", *argv)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "No such file" in refused(tmp_path / "nothing.tflite", "--target", "edgetpu")
    assert "directory" in refused(tmp_path, "--target", "edgetpu")


def test_a_file_of_another_kind_is_an_error(tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "notes.txt").write_text("not a model")
    said = refused(tmp_path / "notes.txt", "--target", "edgetpu")
    assert "notes.txt: not a .tflite file. Received: 11 bytes" in said


def test_a_truncated_file_is_an_error(
    folder: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    (tmp_path / "half.tflite").write_bytes((folder / "int8.tflite").read_bytes()[:400])
    said = refused(tmp_path / "half.tflite", "--target", "mobile_cpu")
    assert "half.tflite: a broken .tflite file" in said


@pytest.mark.parametrize("target", ["edgetpu", "mobile_cpu"])
def test_the_command_starts_without_tensorflow(target: str, folder: Path) -> None:
    code = (
        "import sys; from pipeline.__main__ import main\n"
        f"code = main(['check', {str(folder / 'int8.tflite')!r}, '--target', {target!r}])\n"
        "sys.exit(code or 'tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_weights_of_16_bit_floats_are_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved_model"))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    (tmp_path / "m.tflite").write_bytes(converter.convert())
    assert main(["check", str(tmp_path / "m.tflite"), "--target", "mobile_cpu"]) == 0
    assert "  weights: FLOAT16 in 3 operators, 3 of these mapped" in capsys.readouterr().out
    assert main(["check", str(tmp_path / "m.tflite"), "--target", "mobile_cpu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["weights"] == {"FLOAT16": {"operators": 3, "mapped": 3}}


@pytest.mark.parametrize("kind", ["INT4", "INT2"])
def test_weights_of_few_bits_are_named(
    kind: str,
    folder: Path,
    fake_targets: dict[str, SimpleNamespace],
    capsys: pytest.CaptureFixture[str],
) -> None:
    operators = (Placement(0, "CONV_2D", "here", None), Placement(1, "CONV_2D", "cpu", "no"))
    weights = {kind: {"operators": 2, "mapped": 1}, "INT8": {"operators": 1, "mapped": 1}}
    check._print(Verdict("a", True, None, operators, weights=weights), every=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "weights" in line] == [
        f"  weights: {kind} in 2 operators, 1 of these mapped"
    ]


def test_a_file_that_returns_nan_does_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = classifier()
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    (tmp_path / "m.tflite").write_bytes(convert.convert_float(model))
    assert main(["check", str(tmp_path / "m.tflite"), "--target", "mobile_cpu"]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith(
        "mobile_cpu: does not run. it returns NaN or infinite values for 10 of 10 inputs"
    )
