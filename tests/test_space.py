"""The search space: its choices, what an oracle's values mean, which families fit a budget."""

from collections.abc import Mapping
from typing import Any

import pytest

from pipeline import complexity
from pipeline.budget import Budget
from pipeline.errors import BudgetError
from pipeline.space import SGD_LIKE, Candidate, Costs, Space
from search_spaces import family
from search_spaces.base import ArchBase, Cheapest, build

SHAPE, CLASSES = (32, 32, 1), 10
OPTIMIZERS = ("adam", "momentum", "sgd")
RATES = (1e-3, 1e-2)
FAMILIES = ("mobilenet", "resnet")
DRAWS = 40


@pytest.fixture(scope="module")
def space() -> Space:
    return Space(FAMILIES, OPTIMIZERS, RATES, batch_sizes=(16, 32), epochs=5)


@pytest.fixture(scope="module")
def drawn(space: Space) -> list[dict[str, Any]]:
    """Random values, drawn as an oracle draws them."""
    import keras_tuner

    found = []
    for seed in range(DRAWS):
        hp = keras_tuner.HyperParameters()
        for place, one in enumerate(space.hyperparameters().space):
            hp.merge([one])
            if hp.is_active(one):
                hp.values[one.name] = one.random_sample(1000 * seed + place)
        found.append(dict(hp.values))
    return found


@pytest.fixture(scope="module")
def costs() -> Costs:
    return Costs(SHAPE, CLASSES)


def cheapest(name: str) -> ArchBase:
    return family(name).sample(Cheapest())


# choices


def test_every_family_and_every_optimizer_is_drawn(drawn: list[dict[str, Any]]) -> None:
    assert {values["family"] for values in drawn} == set(FAMILIES)
    assert {values["optimizer"] for values in drawn} == set(OPTIMIZERS)


def test_values_hold_only_choices_of_the_active_family(drawn: list[dict[str, Any]]) -> None:
    for values in drawn:
        scopes = {name.split("/")[0] for name in values if "/" in name}
        assert scopes == {values["family"], values["optimizer"]}


def test_registering_the_space_chooses_nothing(space: Space) -> None:
    assert space.hyperparameters().values == {}


def test_every_choice_of_a_family_is_registered_with_its_cheapest_value_first(
    space: Space,
) -> None:
    chosen: dict[str, Any] = {}

    class First(Cheapest):
        def Choice(self, name: str, values: Any) -> Any:
            chosen[name] = values[0]
            return values[0]

    for name in FAMILIES:
        chosen.clear()
        family(name).sample(First())
        registered = [hp for hp in space.hyperparameters().space if hp.name.startswith(f"{name}/")]
        assert {hp.name.split("/", 1)[1]: hp.values[0] for hp in registered} == chosen


def test_a_space_of_one_family_and_one_optimizer_has_no_others() -> None:
    small = Space(("resnet",), ("sgd",), RATES, batch_sizes=(8,), epochs=1)
    scopes = {hp.name.split("/")[0] for hp in small.hyperparameters().space}
    assert scopes == {"family", "resnet", "optimizer", "sgd", "batch_size"}


# candidates


def test_values_describe_the_candidate_that_was_sampled(space: Space) -> None:
    import keras_tuner

    hp = keras_tuner.HyperParameters()
    hp.values.update({"family": "resnet", "optimizer": "momentum", "resnet/width": 16})
    sampled = space.sample(hp)
    assert sampled.family == "resnet"
    assert space.candidate(hp.values) == sampled


def test_a_candidate_takes_its_values_as_they_are(
    space: Space, drawn: list[dict[str, Any]]
) -> None:
    for values in drawn:
        found = space.candidate(values)
        assert found.family == values["family"]
        assert isinstance(found.arch, family(found.family).Arch)
        assert found.settings["optimizer"] == values["optimizer"]
        assert found.settings["batch_size"] == values["batch_size"]
        assert found.settings["epochs"] == 5


def test_other_values_describe_another_network(space: Space, drawn: list[dict[str, Any]]) -> None:
    values = next(values for values in drawn if values["family"] == "resnet")
    width = 8 if values["resnet/width"] != 8 else 12
    other = space.candidate({**values, "resnet/width": width})
    assert other.arch == space.candidate(values).arch.model_copy(update={"width": width})


def test_reading_values_does_not_change_them(space: Space, drawn: list[dict[str, Any]]) -> None:
    before = [dict(values) for values in drawn]
    for values in drawn:
        space.candidate(values)
    assert drawn == before


def test_the_learning_rate_is_ten_times_higher_for_plain_and_momentum_sgd(
    space: Space, drawn: list[dict[str, Any]]
) -> None:
    low, high = RATES
    for settings in (space.candidate(values).settings for values in drawn):
        factor = 10 if settings["optimizer"] in SGD_LIKE else 1
        assert low * factor <= settings["learning_rate"] <= high * factor


def test_settings_are_those_of_training(space: Space, drawn: list[dict[str, Any]]) -> None:
    from pipeline.training import Settings

    for values in drawn:
        settings = space.candidate(values).settings
        assert Settings(**settings).model_dump(include=set(settings)) == settings


def test_equal_candidates_are_equal() -> None:
    one, other = (Candidate("resnet", cheapest("resnet"), {"epochs": 1}) for _ in range(2))
    assert one == other


# costs


def test_a_cost_is_that_of_the_network_that_is_built(costs: Costs) -> None:
    profile = complexity.profile(build("resnet", cheapest("resnet"), SHAPE, CLASSES))
    assert costs.of("resnet", cheapest("resnet")) == {
        "macs": profile.macs,
        "flops": profile.flops,
        "params": profile.params,
    }


def test_a_network_is_counted_once_however_often_its_cost_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = []
    count = complexity.count
    monkeypatch.setattr(complexity, "count", lambda *a: counted.append(a) or count(*a))
    costs = Costs(SHAPE, CLASSES)
    for _ in range(3):
        costs.of("resnet", cheapest("resnet"))
    assert len(counted) == 1


@pytest.fixture(scope="module")
def flops(costs: Costs) -> Mapping[str, int]:
    """What the cheapest network of each family needs."""
    return {name: costs.of(name, cheapest(name))["flops"] for name in FAMILIES}


def test_no_drawn_network_is_cheaper_than_the_cheapest_of_its_family(
    space: Space, drawn: list[dict[str, Any]], costs: Costs, flops: Mapping[str, int]
) -> None:
    for point in (space.candidate(values) for values in drawn[:6]):
        assert costs.of(point.family, point.arch)["flops"] >= flops[point.family]


def test_every_family_fits_without_a_budget(costs: Costs) -> None:
    assert costs.fitting(FAMILIES, Budget()) == FAMILIES


def test_a_family_fits_a_budget_of_exactly_its_cheapest_network(
    costs: Costs, flops: Mapping[str, int]
) -> None:
    assert costs.fitting(FAMILIES, Budget(flops=max(flops.values()))) == FAMILIES


def test_a_family_that_cannot_fit_is_dropped(costs: Costs, flops: Mapping[str, int]) -> None:
    dearest = max(flops, key=lambda name: flops[name])
    kept = costs.fitting(FAMILIES, Budget(flops=flops[dearest] - 1))
    assert set(kept) == {name for name in FAMILIES if flops[name] < flops[dearest]}


def test_a_budget_below_every_family_says_what_the_cheapest_network_of_each_needs(
    costs: Costs, flops: Mapping[str, int]
) -> None:
    with pytest.raises(BudgetError) as caught:
        costs.fitting(FAMILIES, Budget(flops=12_345))
    assert "Received: budget.flops=12,345" in str(caught.value)
    for name in FAMILIES:
        assert f"{name} {flops[name]:,}" in str(caught.value)


def test_a_budget_of_parameters_says_how_many_are_needed(costs: Costs) -> None:
    with pytest.raises(BudgetError) as caught:
        costs.fitting(["resnet"], Budget(flops="1T", params=10))
    needed = costs.of("resnet", cheapest("resnet"))["params"]
    assert "Received: budget.params=10. " in str(caught.value)
    assert f"resnet {needed:,}. Raise budget.params" in str(caught.value)
