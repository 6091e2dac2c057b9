"""Precisions: the methods that make them, and how their weights round."""

from typing import get_args

import pytest

from pipeline.details import Precision
from pipeline.quantization import precisions
from pipeline.quantization.rounding import METHODS


def test_every_precision_has_a_method_and_weights_that_can_be_rounded() -> None:
    for precision in get_args(Precision):
        assert precisions.methods(precision)
        assert precisions.weights(precision, "scaled") in METHODS


def test_few_bits_are_only_made_by_training() -> None:
    assert {p for p in get_args(Precision) if "ptq" in precisions.methods(p)} == {"int8", "int16x8"}


def test_a_rule_that_a_precision_lacks_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        ValueError, match=r"ternary has no such rule.*rule=connect.*binary has conn"
    ):
        precisions.weights("ternary", "connect")
    assert precisions.weights("ternary", "trained") == "ternary_trained"
