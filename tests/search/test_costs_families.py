"""Which families have a network within a budget, and what is said if none has."""

from collections.abc import Mapping
from typing import Any

import pytest
from support.costs import CLASSES, FAMILIES, SHAPE, cheapest
from support.costs import content as content
from support.costs import conversions as conversions
from support.costs import refused as refused

from pipeline.budget import Budget
from pipeline.errors import BudgetError, RecipeError
from pipeline.search.costs import Costs


@pytest.fixture(scope="module")
def flops() -> Mapping[str, int]:
    """What the cheapest network of each family needs."""
    some = Costs(SHAPE, CLASSES, Budget())
    return {name: int(some.of(name, cheapest(name))["flops"]) for name in FAMILIES}


def fitting(budget: Budget, families: Any = FAMILIES, targets: Any = ()) -> tuple[str, ...]:
    return Costs(SHAPE, CLASSES, budget).fitting(families, targets)


def test_every_family_fits_without_a_budget() -> None:
    assert fitting(Budget()) == FAMILIES


def test_a_family_fits_a_budget_of_exactly_its_cheapest_network(flops: Mapping[str, int]) -> None:
    assert fitting(Budget(flops=max(flops.values()))) == FAMILIES


def test_a_family_that_cannot_fit_is_dropped(flops: Mapping[str, int]) -> None:
    most = max(flops.values()) - 1
    assert set(fitting(Budget(flops=most))) == {n for n in FAMILIES if flops[n] <= most}


def test_the_lower_bound_does_not_drop_a_family(flops: Mapping[str, int]) -> None:
    assert fitting(Budget(flops=100 * max(flops.values()), flops_at_least=0.9)) == FAMILIES


def test_a_family_that_cannot_be_converted_is_dropped_if_its_file_is_asked_for() -> None:
    assert fitting(Budget(), ("vit", "vgg")) == ("vit", "vgg")
    assert fitting(Budget(tflite_bytes="1G"), ("vit", "vgg")) == ("vgg",)


def test_a_budget_below_every_family_says_in_one_line_what_each_needs(
    flops: Mapping[str, int],
) -> None:
    with pytest.raises(BudgetError) as caught:
        fitting(Budget(flops=1234, params=10))
    said = str(caught.value)
    assert "Received: budget.flops=1,234, budget.params=10, for 12x12x1 images. " in said
    for name in FAMILIES:
        assert f"{name} needs flops={flops[name]:,} (budget.flops=1,234) and params=" in said
    assert "\n" not in said


def test_a_latency_is_said_in_milliseconds(conversions: list[Any]) -> None:
    with pytest.raises(BudgetError, match=r"vgg needs latency_ms=\S+ \(budget.latency_ms=1e-09\)"):
        fitting(Budget(latency_ms=1e-9), ["vgg"])


def test_a_budget_says_that_no_family_can_be_converted(refused: list[Any]) -> None:
    with pytest.raises(BudgetError, match="vgg needs an int8 file, but operators stay in floating"):
        fitting(Budget(tflite_bytes="1G"), ["vgg"])


def test_families_that_run_on_no_target_say_why() -> None:
    with pytest.raises(RecipeError, match=r"vit \(mobile_cpu: "):
        fitting(Budget(), ["vit"], ["mobile_cpu"])
