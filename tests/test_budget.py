"""Budgets: numbers as people write them, and what breaks a bound."""

import json
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


UPPER = {
    "flops": 200,
    "macs": 100,
    "params": 10,
    "tflite_bytes": 3000,
    "peak_memory_bytes": 400,
    "latency_ms": 0.5,
}


@pytest.mark.parametrize("name", ["macs", "params", "tflite_bytes", "peak_memory_bytes"])
def test_every_count_is_a_human_number(name: str) -> None:
    assert getattr(Budget.model_validate({name: "1.5k"}), name) == 1500


@pytest.mark.parametrize("latency", ["fast", True, 0, -1, float("nan"), float("inf")])
def test_what_is_no_time_is_refused_as_a_latency(latency: Any) -> None:
    with pytest.raises(ValidationError):
        Budget(latency_ms=latency)


@pytest.mark.parametrize("latency", [2, 0.25])
def test_a_latency_is_a_number_of_milliseconds(latency: float) -> None:
    assert Budget(latency_ms=latency).latency_ms == latency


def test_a_budget_survives_json() -> None:
    budget = Budget(**UPPER, flops_at_least=0.3)
    assert Budget.model_validate(json.loads(budget.model_dump_json())) == budget


@pytest.mark.parametrize("name", UPPER)
def test_a_bound_is_broken_only_above_it(name: str) -> None:
    assert Budget(**UPPER).broken_by(UPPER) == []
    assert Budget(**UPPER).broken_by({**UPPER, name: UPPER[name] * 1.01}) == [name]


def test_every_broken_bound_is_named() -> None:
    assert Budget(**UPPER).broken_by({key: most + 1 for key, most in UPPER.items()}) == [*UPPER]


def test_a_cost_that_is_not_known_is_not_judged() -> None:
    budget = Budget(**UPPER, flops_at_least=1)
    assert budget.broken_by({}) == []
    assert budget.broken_by({"params": 11}) == ["params"]


def test_a_budget_without_bounds_is_never_broken() -> None:
    assert Budget().broken_by({"flops": 10**15, "params": 10**12}) == []
    assert Budget().upper == {}


def test_upper_bounds_leave_out_the_lower_one() -> None:
    assert Budget(flops="1k", flops_at_least=0.5).upper == {"flops": 1000}


@pytest.mark.parametrize(
    ("bounds", "cost", "broken"),
    [
        ({"flops": 1000}, {"flops": 500}, []),
        ({"flops": 1000}, {"flops": 499}, ["flops_at_least"]),
        ({"flops": 1000}, {"macs": 249}, ["flops_at_least"]),
        ({"macs": 500}, {"macs": 249, "flops": 498}, ["flops_at_least"]),
        ({"macs": 500}, {"macs": 250, "flops": 500}, []),
        ({"flops": 10_000, "macs": 500}, {"macs": 250, "flops": 500}, []),
        ({"flops": 400, "params": 5}, {"flops": 199, "params": 6}, ["params", "flops_at_least"]),
    ],
)
def test_a_network_far_below_the_bound_is_named(bounds: Any, cost: Any, broken: list[str]) -> None:
    assert Budget(**bounds, flops_at_least=0.5).broken_by(cost) == broken


@pytest.mark.parametrize("bounds", [{}, {"params": 5}, {"tflite_bytes": "20k"}])
def test_a_fraction_of_no_bound_is_refused(bounds: Any) -> None:
    with pytest.raises(ValidationError, match=r"flops_at_least=0.5. Set flops or macs as well"):
        Budget(**bounds, flops_at_least=0.5)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, "half", True, float("nan")])
def test_what_is_no_fraction_is_refused(fraction: Any) -> None:
    with pytest.raises(ValidationError):
        Budget(flops=100, flops_at_least=fraction)
