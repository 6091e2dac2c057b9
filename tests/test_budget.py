"""Budgets: numbers as people write them, and what breaks a bound."""

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.budget import Budget, count


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("6M", 6_000_000),
        ("1.5G", 1_500_000_000),
        ("40k", 40_000),
        ("2T", 2_000_000_000_000),
        (" 6 m ", 6_000_000),
        (".5M", 500_000),
        ("1_000", 1000),
        (7, 7),
        (6.0e6, 6_000_000),
    ],
)
def test_a_count_is_read_as_people_write_it(written: Any, number: int) -> None:
    assert count(written) == number


def test_every_number_of_three_decimals_is_read_exactly() -> None:
    written = [f"{thousandths / 1000:.3f}" for thousandths in range(1, 20_000)]
    read = [count(f"{number}M") for number in written]
    assert read == [int(Decimal(number) * 10**6) for number in written]
    assert all(type(number) is int for number in read)


@pytest.mark.parametrize(
    "written", ["many", "6MB", "-5", "1.5", "0.0001k", "1..5M", "_1", "", True, "0", 0, [6]]
)
def test_what_is_no_count_is_refused_as_a_bound(written: Any) -> None:
    with pytest.raises(ValidationError):
        Budget(flops=written)


def test_a_misspelt_bound_is_refused() -> None:
    with pytest.raises(ValidationError):
        Budget.model_validate({"flps": 5})


@pytest.mark.parametrize(
    ("flops", "params", "broken"),
    [
        (100, 10, []),
        (101, 10, ["flops"]),
        (100, 11, ["params"]),
        (101, 11, ["flops", "params"]),
    ],
)
def test_a_bound_is_broken_only_above_it(flops: int, params: int, broken: list[str]) -> None:
    cost = {"flops": flops, "params": params, "macs": flops // 2}
    assert Budget(flops=100, params=10).broken_by(cost) == broken


def test_a_budget_without_bounds_is_never_broken() -> None:
    assert Budget().broken_by({"flops": 10**15, "params": 10**12}) == []
