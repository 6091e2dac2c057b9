"""Formats Qm.n: their values, rounding, and the integer bits that a range needs."""

import numpy as np
import pytest

from pipeline.fixed_point.formats import Format, Range, of_range


def test_the_published_formats_have_their_bits() -> None:
    """Weights Q1.9 and data Q12.2; both in one format is Q12.9, of 21 bits."""
    assert [Format(1, 9).bits, Format(12, 2).bits, Format(12, 9).bits] == [10, 14, 21]


@pytest.mark.parametrize(
    ("one", "values"),
    [
        (Format(1, 2), [-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75]),
        (Format(0, 2, signed=False), [0.0, 0.25, 0.5, 0.75]),
        (Format(-1, 3), [-0.25, -0.125, 0.0, 0.125]),
        (Format(4, -1, signed=False), [0, 2, 4, 6, 8, 10, 12, 14]),
    ],
)
def test_a_format_has_these_values_and_no_others(one: Format, values: list[float]) -> None:
    assert np.unique(one.rounded(np.linspace(-40, 40, 4001))).tolist() == values
    assert len(values) == 2**one.bits


def test_values_are_rounded_to_the_nearest_a_half_to_the_even_one() -> None:
    assert Format(4, 0).integers([0.5, 1.5, 2.5, -0.5, 2.51, -7.6, 99]).tolist() == [
        *(0, 2, 2, 0, 3, -8, 7)
    ]


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (-1.0, 1.0, "Q1.7"),
        (-1.01, 0.3, "Q2.6"),
        (-0.3, 0.49, "Q0.8"),
        (0.0, 0.9, "UQ0.8"),
        (0.0, 255.0, "UQ8.0"),
        (0.0, 300.0, "UQ9.-1"),
        (-300.0, 0.0, "Q10.-2"),
        (0.0, 0.0, "UQ0.8"),
    ],
)
def test_integer_bits_are_as_many_as_the_range_needs(low: float, high: float, text: str) -> None:
    found = of_range(Range(low, high), 8)
    assert str(found) == text
    assert abs(found.rounded([low])[0] - low) <= found.step
    assert abs(found.rounded([high])[0] - high) <= found.step


def test_a_bit_less_halves_the_range_or_doubles_the_step() -> None:
    one = Format(2, 3)
    assert str(one.less("integer")) == "Q1.3"
    assert str(one.less("fraction")) == "Q2.2"
    assert [Format(2, 0).fewest, Format(3, 0).fewest] == [True, False]
    assert [Format(1, 0, False).fewest, Format(2, 0, False).fewest] == [True, False]


def test_a_range_holds_zero_and_all_its_parts() -> None:
    assert Range.of(np.array([2.0, 3.0])) == Range(0.0, 3.0)
    assert Range.over([Range(-1, 2), Range(-3, 1)]) == Range(-3, 2)
