"""The search space: its choices, what an oracle's values mean, what is left of it."""

from typing import Any

import pytest

from pipeline.errors import RecipeError
from pipeline.search.space import SGD_LIKE, Candidate, Space, refined
from search_spaces import family
from search_spaces.base import ArchBase, Cheapest

OPTIMIZERS = ("adam", "momentum", "sgd")
RATES = (1e-3, 1e-2)
FAMILIES = ("mobilenet", "resnet")
DRAWS = 40


@pytest.fixture(scope="module")
def space() -> Space:
    return Space(
        FAMILIES,
        OPTIMIZERS,
        RATES,
        schedules=("cosine", "plateau", "constant"),
        warmups=(0.0, 0.1),
        penalties=("none", "l2", "weight_decay"),
        label_smoothings=(0.0, 0.1),
        clip_norms=(0.0, 1.0),
        batch_sizes=(16, 32),
        augmentations=("none", "light"),
    )


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


def cheapest(name: str) -> ArchBase:
    return family(name).sample(Cheapest())


# choices


def test_every_family_and_every_optimizer_is_drawn(drawn: list[dict[str, Any]]) -> None:
    assert {values["family"] for values in drawn} == set(FAMILIES)
    assert {values["optimizer"] for values in drawn} == set(OPTIMIZERS)


def test_values_hold_only_choices_of_the_active_family(drawn: list[dict[str, Any]]) -> None:
    for values in drawn:
        scopes = {name.split("/")[0] for name in values if "/" in name}
        penalty = {values["penalty"]} - {"none"}
        assert scopes == {values["family"], values["optimizer"]} | penalty


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
    small = Space(("resnet",), ("sgd",), RATES)
    scopes = {hp.name.split("/")[0] for hp in small.hyperparameters().space}
    assert scopes == {"family", "resnet", "optimizer", "sgd", "schedule", "penalty"}


def test_a_choice_that_does_not_apply_is_neither_made_nor_passed_on(
    space: Space, drawn: list[dict[str, Any]]
) -> None:
    for values in drawn:
        settings = space.candidate(values).settings
        assert ("warmup" in values) == ("warmup" in settings) == (values["schedule"] != "plateau")
        assert ("clip_norm" in settings) == (values["clip_norm"] > 0)
        assert {"l2", "weight_decay"} & set(settings) == {values["penalty"]} - {"none"}


def test_a_range_of_one_value_is_no_choice() -> None:
    space = Space(("resnet",), ("adam",), (1e-3, 1e-3))
    assert "adam/learning_rate" not in [hp.name for hp in space.hyperparameters().space]
    assert space.candidate({}).settings["learning_rate"] == 1e-3


# what a recipe leaves of the choices of a family


def test_choices_keep_the_values_that_are_named() -> None:
    space = Space(FAMILIES, choices={"init": ("he_normal", "lsuv"), "resnet/width": (16,)})
    left = {hp.name: getattr(hp, "values", None) for hp in space.hyperparameters().space}
    assert left["resnet/init"] == left["mobilenet/init"] == ["he_normal", "lsuv"]
    assert "resnet/width" not in left
    assert space.candidate({"family": "resnet"}).arch.width == 16


@pytest.mark.parametrize(
    ("choices", "what"),
    [
        ({"widht": (8,)}, "unknown choice. Received: 'widht'. Close: width"),
        ({"resnet/width": (8, 9)}, "no such value. Received: 9. There are: 8, 12, 16"),
    ],
)
def test_choices_that_no_family_makes_are_refused(choices: dict[str, Any], what: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Space(FAMILIES, choices=choices).check()
    assert what in str(caught.value)


def test_choices_that_leave_nothing_of_a_family_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"leaves nothing of family mobilenet, which has relu6"):
        Space(FAMILIES, choices={"activation": ("swish",)}).check()


def test_the_cheapest_network_is_one_that_the_choices_leave() -> None:
    space = Space(FAMILIES, choices={"resnet/width": (24, 32)})
    assert space.cheapest("resnet").width == 24


# a second, finer round


def test_a_refined_space_lies_around_the_best_points(
    space: Space, drawn: list[dict[str, Any]]
) -> None:
    import keras_tuner

    best = [values for values in drawn if values["family"] == "resnet"][:1]
    small = {hp.name: hp for hp in refined(space.hyperparameters(), best).space}
    whole = {hp.name: hp for hp in space.hyperparameters().space}
    assert small["family"].values == ["resnet"]
    for name, value in best[0].items():
        kept = small[name]
        if isinstance(kept, keras_tuner.engine.hyperparameters.Choice):
            assert value in kept.values
            assert len(kept.values) <= (3 if kept.ordered else 1)
        else:
            assert kept.min_value <= value <= kept.max_value
            assert kept.max_value / kept.min_value < whole[name].max_value / whole[name].min_value


def test_points_of_a_refined_space_are_points_of_the_whole(
    space: Space, drawn: list[dict[str, Any]]
) -> None:
    small = refined(space.hyperparameters(), drawn[:3])
    for seed in range(20):
        import keras_tuner

        hp = keras_tuner.HyperParameters()
        for place, one in enumerate(small.space):
            hp.merge([one])
            if hp.is_active(one):
                hp.values[one.name] = one.random_sample(1000 * seed + place)
        assert space.candidate(hp.values).family in {values["family"] for values in drawn[:3]}


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
        assert found.settings["augmentation"] == values["augmentation"]


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
    from pipeline.train.settings import Settings

    for values in drawn:
        settings = space.candidate(values).settings
        assert Settings(**settings).model_dump(include=set(settings)) == settings


def test_equal_candidates_are_equal() -> None:
    one, other = (Candidate("resnet", cheapest("resnet"), {"epochs": 1}) for _ in range(2))
    assert one == other
