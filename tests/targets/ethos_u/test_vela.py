"""Arm's Ethos-U: what Vela, the real compiler, maps of our files, and what it says of the rest."""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pipeline import targets
from pipeline.errors import ModelError, ToolError
from pipeline.targets import Verdict, ethos_u
from pipeline.targets.ethos_u import vela
from pipeline.tflite import convert, write
from search_spaces import base, family, published

needs_vela = pytest.mark.skipif(ethos_u.missing() is not None, reason=str(ethos_u.missing()))
SIDE = 16


def quantized(model: keras.Model, side: int = SIDE) -> bytes:
    """A network whose normalization has seen noise, quantized on noise."""
    noise = np.random.default_rng(0).uniform(0, 255, (16, side, side, 3)).astype(np.float32)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
    model(noise, training=True)
    return convert.ptq(model, noise)


def network(layer: layers.Layer) -> keras.Model:
    """A classifier with one layer of interest behind a convolution."""
    inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(8, 3, name="first")(layers.Rescaling(1 / 128, -1.0)(inputs))
    x = layers.GlobalAveragePooling2D()(layer(x))
    return keras.Model(inputs, layers.Softmax()(layers.Dense(5)(x)))


@pytest.fixture(scope="module")
def resnet8() -> Verdict:
    owner, net = published.find("resnet8")
    model = base.build(owner, net.arch, net.input_shape, net.num_classes)
    return targets.check("ethos_u", quantized(model, 32))


@pytest.fixture(scope="module")
def strided() -> bytes:
    """Vela leaves padded convolutions with a stride above 3 to the CPU."""
    return quantized(network(layers.Conv2D(8, 9, strides=4, padding="same", name="strided")))


# what is mapped


@needs_vela
def test_the_resnet_of_mlperf_tiny_runs_on_the_npu_as_a_whole(resnet8: Verdict) -> None:
    assert resnet8.runs
    assert resnet8.mapped == len(resnet8.operators) > 15
    assert {op.placement for op in resnet8.operators} == {"npu"}
    assert resnet8.extras["npu_share"] == 1.0
    assert resnet8.extras["warnings"] == []


@needs_vela
def test_the_ends_of_uint8_run_on_the_npu(resnet8: Verdict) -> None:
    assert [op.name for op in (resnet8.operators[0], resnet8.operators[-1])] == ["QUANTIZE"] * 2


@needs_vela
def test_cycles_are_no_fewer_than_the_multiplications_take(resnet8: Verdict) -> None:
    extras = resnet8.extras
    assert 12_501_632 / 128 < extras["cycles"] < 10 * 12_501_632 / 128  # 128 a cycle at best
    assert extras["inference_ms"] == pytest.approx(1e3 * extras["cycles"] / 500e6)


@needs_vela
def test_memory_holds_the_largest_activations_and_the_weights(resnet8: Verdict) -> None:
    assert resnet8.extras["sram_bytes"] >= 2 * 32 * 32 * 16  # two ends of a residual branch
    assert 70_000 < resnet8.extras["flash_bytes"] < 100_000  # of 77,360 weights, compressed


@needs_vela
def test_the_verdict_says_what_it_is_for(resnet8: Verdict) -> None:
    shown = json.loads(json.dumps(resnet8.as_json()))
    assert shown["by"] == f"ethos-u-vela {vela.version()}"
    assert shown["accelerator"] == "ethos-u55-128"
    assert shown["system_config"] == "Ethos_U55_High_End_Embedded"
    assert shown["memory_mode"] == "Shared_Sram"


@pytest.mark.slow
@needs_vela
@pytest.mark.parametrize("kind", ["hard_swish", "gelu", "swish", "tanh", "sigmoid"])
def test_activations_that_the_edge_tpu_lacks_run_on_the_npu(kind: str) -> None:
    verdict = targets.check("ethos_u", quantized(network(layers.Activation(kind))))
    assert verdict.mapped == len(verdict.operators)


@needs_vela
def test_grouped_convolutions_run_on_the_npu() -> None:
    verdict = targets.check("ethos_u", quantized(network(layers.Conv2D(8, 3, groups=2))))
    assert verdict.mapped == len(verdict.operators)


# what is left


@needs_vela
def test_an_operator_on_the_cpu_has_the_reason_that_vela_gives(strided: bytes) -> None:
    verdict = targets.check("ethos_u", strided)
    assert verdict.runs
    (left,) = (op for op in verdict.operators if op.placement == "cpu")
    assert left.name == "CONV_2D"
    assert left.reason == (
        "Unsupported kernel stride: 4, 4; "
        "Stride>3 is only supported IF (dilation = 1 AND padding = VALID)"
    )
    assert verdict.extras["npu_share"] == verdict.mapped / len(verdict.operators) < 1
    assert "the NPU alone" in verdict.extras["warnings"][0]


@needs_vela
def test_a_reason_finds_its_operator_in_a_file_without_names(strided: bytes) -> None:
    named = targets.check("ethos_u", strided)
    assert targets.check("ethos_u", write.stripped(strided)).operators == named.operators


@needs_vela
def test_a_float_file_is_left_to_the_cpu_with_the_names_that_its_tensors_have() -> None:
    verdict = targets.check("ethos_u", convert.convert_float(network(layers.ReLU())))
    assert verdict.runs
    assert verdict.mapped == 0
    assert all("unsupported DataType Float32" in str(op.reason) for op in verdict.operators)
    assert any("first/convolution" in str(op.reason) for op in verdict.operators)
    assert not any("tensor-" in str(op.reason) for op in verdict.operators)


@pytest.mark.slow
@needs_vela
@pytest.mark.parametrize("name", ["resnet", "mobilenet_v1", "mobilenet", "alexnet"])
def test_what_is_searched_for_the_npu_runs_on_it_as_a_whole(name: str) -> None:
    arch = family(name).sample(base.Deployable(base.Cheapest(), name, ["ethos_u"]))
    verdict = targets.check("ethos_u", quantized(base.build(name, arch, (32, 32, 3), 10), 32))
    assert [op for op in verdict.operators if op.reason] == []


@pytest.mark.parametrize("norm", ["layer", "instance", "group", "local_response"])
def test_normalization_that_leaves_floats_is_not_searched(norm: str) -> None:
    choices = base.Deployable(base.Cheapest(), "resnet", ["ethos_u"])
    assert choices.Choice("norm", [norm, "batch"]) == "batch"


# what is refused


def without_inputs(root: Any) -> None:
    root.subgraphs[0].operators[3].inputs = np.array([], np.int32)


def without_an_end(root: Any) -> None:
    """An operator that reads what a later one makes."""
    early, late = root.subgraphs[0].operators[1], root.subgraphs[0].operators[4]
    early.inputs[0] = late.outputs[0]


@needs_vela
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without_inputs, "Vela died of signal 11 (SIGSEGV)"),
        (without_an_end, "Failed to parse TFLite file"),
    ],
)
def test_what_vela_refuses_or_dies_of_is_refused(
    change: Callable[[Any], None], reason: str, strided: bytes
) -> None:
    verdict = targets.check("ethos_u", write.changed(strided, change))
    assert not verdict.runs
    assert verdict.refused == reason
    assert {op.placement for op in verdict.operators} == {"none"}


@needs_vela
def test_broken_files_give_a_verdict_or_an_error_that_can_be_put_right(strided: bytes) -> None:
    rng, seen = random.Random(1), set[bool | None]()
    for _ in range(12):
        broken = bytearray(strided)
        for _ in range(4):
            broken[rng.randrange(len(broken))] = rng.choice([0, 127, 128, 255])
        try:
            verdict = targets.check("ethos_u", bytes(broken))
            assert "\n" not in (verdict.refused or "")
            seen.add(verdict.runs)
        except ModelError:
            seen.add(None)
    assert None in seen
    assert seen != {None}


@pytest.mark.parametrize("size", [0, 7, 8, 500])
def test_a_part_of_a_file_is_an_error(size: int, strided: bytes) -> None:
    with pytest.raises(ModelError, match=r"\.tflite file"):
        ethos_u.check(strided[:size])


@needs_vela
def test_a_compiler_that_does_not_end_is_stopped(
    strided: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vela, "LAUNCH", "while True: pass")
    monkeypatch.setattr(vela, "SECONDS", 1)
    verdict = ethos_u.check(strided)
    assert not verdict.runs
    assert verdict.refused == "Vela had not finished after 1 seconds"
    assert {op.reason for op in verdict.operators} == {"the file is refused"}


@needs_vela
def test_a_compiler_that_dies_says_of_which_signal(
    strided: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vela, "LAUNCH", "import os; print('No room.', flush=True); os.abort()")
    assert ethos_u.check(strided).refused == "No room; Vela died of signal 6 (SIGABRT)"


@needs_vela
def test_a_compiler_that_takes_too_much_memory_is_refused_it() -> None:
    code = vela.LAUNCH.split("runpy.run_module")[0] + "bytearray(9 << 30)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert b"MemoryError" in done.stderr


# the tool


def test_a_tool_that_is_not_installed_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vela, "PACKAGE", "ethos-u-of-another-world")
    with pytest.raises(ToolError, match=r"ethos-u-of-another-world .*'flopsmith\[ethos\]'"):
        targets.check("ethos_u", b"")


def test_a_tool_that_is_too_old_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vela, "version", lambda: "4.1.0")
    assert str(ethos_u.missing()).startswith("the compiler ethos-u-vela is 4.1.0, older than 5.2")


@needs_vela
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import ethosu.gone", "Received: ModuleNotFoundError"),
        ("", "ethos-u-vela .*Received: FileNotFoundError"),
    ],
)
def test_a_tool_that_does_not_work_is_an_error(
    code: str, message: str, strided: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vela, "LAUNCH", code)
    with pytest.raises(ToolError, match=message):
        ethos_u.check(strided)


@needs_vela
def test_nothing_is_left_behind(
    strided: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ethos_u.check(strided)
    assert list(tmp_path.iterdir()) == []
