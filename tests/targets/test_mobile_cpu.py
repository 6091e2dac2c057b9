"""What LiteRT makes of files on a CPU: which operators XNNPACK takes, measured."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers, ops

from pipeline import targets
from pipeline.targets import Verdict
from pipeline.tflite import convert, write

Outputs = Callable[[keras.KerasTensor], keras.KerasTensor]


def asked(content: bytes) -> Verdict:
    return targets.check("mobile_cpu", content)


def network(middle: Outputs) -> keras.Model:
    """Two convolutions and something between them."""
    inputs = keras.Input((8, 8, 3))
    x = middle(layers.Conv2D(4, 3)(inputs))
    return keras.Model(inputs, layers.Conv2D(2, 3)(x))


def floating(middle: Outputs) -> bytes:
    return convert.convert_float(network(middle))


def int8(middle: Outputs) -> bytes:
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3)).astype("float32")
    return convert.ptq(network(middle), images)


@pytest.fixture(scope="module")
def split() -> bytes:
    """A float file with an operator in the middle that XNNPACK does not have."""
    return floating(lambda x: ops.cumsum(x, axis=1))


def test_xnnpack_takes_a_float_file_as_a_whole() -> None:
    verdict = asked(floating(layers.ReLU()))
    assert verdict.runs
    assert {op.placement for op in verdict.operators} == {"xnnpack"}
    assert verdict.mapped == len(verdict.operators) == 2
    assert verdict.extras == {"xnnpack_pieces": 1, "float_operators": {"CONV_2D": 2}}


def test_what_xnnpack_lacks_runs_on_the_cpu_with_a_reason(split: bytes) -> None:
    verdict = asked(split)
    assert [(op.name, op.placement) for op in verdict.operators] == [
        ("CONV_2D", "xnnpack"),
        ("CUMSUM", "cpu"),
        ("CONV_2D", "xnnpack"),
    ]
    assert verdict.operators[1].reason == "XNNPACK does not take this CUMSUM of FLOAT32"
    assert verdict.extras["xnnpack_pieces"] == 2


def test_hard_swish_is_taken_in_float_and_not_in_int8() -> None:
    hard_swish = layers.Activation("hard_swish")
    assert asked(floating(hard_swish)).mapped == 3
    reasons = {op.name: op.reason for op in asked(int8(hard_swish)).operators}
    assert reasons == {
        "QUANTIZE": "XNNPACK does not take this QUANTIZE of INT8 and UINT8",
        "CONV_2D": None,
        "HARD_SWISH": "XNNPACK does not take this HARD_SWISH of INT8",
    }


def test_no_operator_of_an_int8_file_is_listed_as_floating_point() -> None:
    assert asked(int8(layers.ReLU())).extras["float_operators"] == {}


def test_the_operators_are_those_that_litert_delegates_one_by_one(split: bytes) -> None:
    runtime = Interpreter(model_content=split, experimental_disable_delegate_node_fusion=True)
    runtime.allocate_tensors()
    nodes = runtime._get_ops_details()
    pieces = [set(node["outputs"]) for node in nodes if node["op_name"] == "DELEGATE"]
    alone = {
        n["index"] for n in nodes if n["op_name"] != "DELEGATE" and set(n["outputs"]) in pieces
    }
    assert alone == {op.index for op in asked(split).operators if op.placement == "xnnpack"}
    assert alone == {0, 2}


def test_a_file_that_litert_refuses_does_not_run(split: bytes) -> None:
    def misshape(root: object) -> None:
        graph = root.subgraphs[0]  # type: ignore[attr-defined]
        graph.tensors[graph.inputs[0]].shape = [1, 8, 8, 5]

    verdict = asked(write.changed(split, misshape))
    assert not verdict.runs
    assert "LiteRT refuses the model" in str(verdict.refused)
    assert {op.placement for op in verdict.operators} == {"cpu"}
    assert verdict.mapped == 0
