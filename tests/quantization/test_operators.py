"""Every operator has one rule, of a known form."""

import pytest

from pipeline.errors import ModelError
from pipeline.quantization import operators
from pipeline.quantization.network import Step, Value
from pipeline.tflite.read import KERNEL_OPERATORS


def step(kind: str) -> Step:
    return Step(kind, [], [Value("made", (1, 4))])


def test_every_operator_with_weights_has_a_rule() -> None:
    assert set(KERNEL_OPERATORS) <= set(operators.RULES)


def test_an_operator_is_int8_or_float_not_both() -> None:
    assert not set(operators.RULES) & set(operators.FLOAT)
    assert operators.has_int8(step("ADD"))
    assert not operators.has_int8(step("RSQRT"))
    assert operators.is_known(step("RSQRT"))
    assert not operators.is_known(step("WHILE"))


def test_prescribed_grids_are_those_of_the_specification() -> None:
    found = {
        kind: rule.grid
        for kind, rule in operators.RULES.items()
        if rule.grid not in ("own", "same")
    }
    assert found == {"LOGISTIC": (1 / 256, -128), "SOFTMAX": (1 / 256, -128), "TANH": (1 / 128, 0)}


def test_an_unknown_operator_is_an_error() -> None:
    with pytest.raises(ModelError, match="WHILE"):
        operators.compute(step("WHILE"), [])
