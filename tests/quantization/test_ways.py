"""The ways to quantize: which are tried, and why others are not."""

import pytest

from pipeline.errors import ModelError
from pipeline.quantization import native, ptq, ways


def test_a_way_is_found_by_its_name() -> None:
    assert ways.find("ptq", "native") is ptq
    assert ways.find("qat", "native") is native


def test_both_are_tried_unless_one_would_spoil_something() -> None:
    assert ways.methods("auto", "int8", clustered=False) == (["qat", "ptq"], {})
    tried, refused = ways.methods("auto", "int8", clustered=True)
    assert tried == ["qat"]
    assert "undo the clustering" in refused["ptq"]
    assert ways.methods("ptq", "int8", clustered=True) == (["ptq"], {})
    assert ways.methods("auto", "ternary", clustered=False)[0] == ["qat"]


def test_nothing_left_to_try_is_an_error() -> None:
    with pytest.raises(ModelError, match=r"undo the clustering.*precision=int16x8"):
        ways.methods("auto", "int16x8", clustered=True)
