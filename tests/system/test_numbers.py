"""Numbers as people write them."""

import math
from typing import Any

import pytest

from pipeline.system import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.9999999999999997e-05, "0.00003"),
        (0.1 + 0.2, "0.3"),
        (1e-3, "0.001"),
        (30.0, "30.0"),
        (0.0, "0.0"),
        (-4e-6, "-0.000004"),
        (123456789.25, "123456789.25"),
        (1e-12, "1e-12"),
        (1e20, "1e+20"),
        (math.inf, "inf"),
    ],
)
def test_a_float_has_neither_noise_nor_an_exponent(value: float, text: str) -> None:
    assert numbers.plain(value) == text


@pytest.mark.parametrize("value", [3e-05, 2.9999999999999997e-05, 0.1, 1e-9, 1e-12, 5e14, -0.5])
def test_an_exact_number_reads_as_the_same_float(value: float) -> None:
    assert float(numbers.exact(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("text", "text"),
        (True, "True"),
        (7, "7"),
        (None, "None"),
        ([1e-5, "a", None], "[0.00001, 'a', None]"),
        ((1e-5,), "(0.00001,)"),
        ({"rate": [3e-05]}, "{'rate': [0.00003]}"),
    ],
)
def test_a_setting_is_written_as_str_does_with_plain_floats(value: Any, text: str) -> None:
    assert numbers.written(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.000012345, "0.000012345"), (2.0, "2"), (1234567.0, "1234570")]
)
def test_a_measured_number_is_rounded(value: float, text: str) -> None:
    assert numbers.short(value) == text
