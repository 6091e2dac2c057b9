"""The contract of an architecture family, held by every file of `search_spaces/`."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import pytest
from support.families import Styled, slowly

import search_spaces
from pipeline.errors import ModelError, RecipeError
from pipeline.graph import complexity
from pipeline.tflite import convert
from pipeline.tflite.read import read
from search_spaces import base
from search_spaces.base import Cheapest, build

SHAPES = [(8, 8, 1), (32, 32, 3), (64, 48, 3)]
CLASSES = 10
every_family = pytest.mark.parametrize("name", search_spaces.families())


class Random:
    """Choices at random."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def Choice(self, name: str, values: Sequence[Any]) -> Any:
        return values[self._rng.integers(len(values))]


class Changed:
    """The first value of every choice, but for one; remembers what there was to choose from."""

    def __init__(self, changed: str | None = None, to: Any = None) -> None:
        self._changed, self._to = changed, to
        self.asked: dict[str, Sequence[Any]] = {}

    def Choice(self, name: str, values: Sequence[Any]) -> Any:
        assert name not in self.asked, "two choices of one name"
        self.asked[name] = list(values)
        return self._to if name == self._changed else values[0]


def samples(name: str, count: int, choices: Callable[[int], base.Choices] = Random) -> list[Any]:
    sample = search_spaces.family(name).sample
    return [sample(choices(seed)) for seed in range(count)]


def macs(name: str, arch: Any) -> int:
    return complexity.count(name, arch, (32, 32, 3), CLASSES).macs


def images(shape: tuple[int, int, int], count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape)).astype("float32")


@every_family
def test_an_arch_survives_json(name: str) -> None:
    arch_class = search_spaces.family(name).Arch
    for arch in samples(name, 10):
        assert arch_class.model_validate_json(arch.model_dump_json()) == arch


@every_family
def test_an_arch_cannot_be_changed_and_takes_no_unknown_number(name: str) -> None:
    arch = search_spaces.family(name).sample(Cheapest())
    field = next(iter(arch.model_dump()))
    with pytest.raises(ValueError, match="frozen"):
        setattr(arch, field, getattr(arch, field))
    with pytest.raises(ValueError, match="Extra inputs"):
        type(arch)(**arch.model_dump(), colour="red")


@every_family
def test_the_first_value_of_every_choice_is_the_cheapest(name: str) -> None:
    module = search_spaces.family(name)
    first = Changed()
    least = macs(name, module.sample(first))
    cheaper = {
        (choice, value): cost
        for choice, values in first.asked.items()
        for value in values[1:]
        if (cost := macs(name, module.sample(Changed(choice, value)))) < least
    }
    assert not cheaper, f"less than the {least} MACs of first values"


@every_family
def test_every_choice_offers_different_values(name: str) -> None:
    choices = Changed()
    search_spaces.family(name).sample(choices)
    assert choices.asked
    for choice, values in choices.asked.items():
        assert len(set(values)) == len(values) >= 2, choice


@slowly()
def test_build_chooses_nothing(name: str) -> None:
    configs = []
    for _ in range(2):
        keras.backend.clear_session()  # so that names that Keras counts start again
        model = build(name, samples(name, 1)[0], SHAPES[1], CLASSES)
        configs.append(model.get_config())
        assert not model.compiled
    assert configs[0] == configs[1]


@every_family
def test_an_arch_builds_from_its_json_data(name: str) -> None:
    arch = samples(name, 1)[0]
    assert macs(name, arch.model_dump(mode="json")) == macs(name, arch)


@every_family
@pytest.mark.parametrize("shape", [*SHAPES, (300, 300, 3), (9, 300, 2)], ids=str)
def test_random_samples_take_images_of_any_size(name: str, shape: tuple[int, int, int]) -> None:
    for arch in samples(name, 20):
        assert complexity.count(name, arch, shape, CLASSES).macs > 0, arch


@slowly()
def test_random_samples_build_and_their_scores_add_up_to_one(name: str) -> None:
    archs = samples(name, len(SHAPES), Styled)
    for shape, arch in zip(SHAPES, archs, strict=True):
        scores = np.asarray(build(name, arch, shape, CLASSES)(images(shape, 2), training=False))
        assert scores.shape == (2, CLASSES), arch
        np.testing.assert_allclose(scores.sum(axis=-1), 1, atol=1e-5, err_msg=str(arch))
        assert np.isfinite(scores).all()


@pytest.mark.slow
@slowly()
def test_a_step_of_training_gives_a_finite_loss(name: str) -> None:
    for arch in samples(name, 2, Styled):
        model = build(name, arch, SHAPES[0], CLASSES)
        model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
        loss = model.train_on_batch(images(SHAPES[0], 4), np.arange(4))
        assert np.isfinite(loss), arch


@pytest.mark.slow
@every_family
def test_what_the_search_samples_for_a_phone_becomes_int8(name: str) -> None:
    if reason := base.undeployable(name, ["mobile_cpu"]):
        assert reason.startswith("mobile_cpu: ")
        return
    for seed in range(3):
        choices = base.Deployable(Styled(seed), name, ["mobile_cpu"])
        arch = search_spaces.family(name).sample(choices)
        model = build(name, arch, SHAPES[1], CLASSES)
        converted = convert.ptq(model, images(SHAPES[1], 4))
        assert not read(converted).float_operators, arch


@pytest.mark.slow
def test_local_response_normalization_is_not_sampled_for_a_phone_and_refused_in_words() -> None:
    choices = base.Deployable(Cheapest(), "alexnet", ["mobile_cpu"])
    assert choices.Choice("norm", ["local_response", "batch"]) == "batch"
    arch = search_spaces.family("alexnet").sample(Cheapest())
    style = arch.style.model_copy(update={"norm": "local_response"})
    model = build("alexnet", arch.model_copy(update={"style": style}), SHAPES[1], CLASSES)
    with pytest.raises(ModelError, match="POW"):
        convert.ptq(model, images(SHAPES[1], 2))


@slowly()
def test_the_layers_with_weights_have_names_of_their_own(name: str) -> None:
    keras.backend.clear_session()
    model = build(name, search_spaces.family(name).sample(Cheapest()), SHAPES[1], CLASSES)
    counted = [layer.name for layer in model.layers if layer.weights]
    again = build(name, search_spaces.family(name).sample(Cheapest()), SHAPES[1], CLASSES)
    assert [layer.name for layer in again.layers if layer.weights] == counted


@every_family
def test_the_docstring_says_what_is_searched_what_is_fixed_and_where_it_is_from(name: str) -> None:
    text = search_spaces.family(name).__doc__ or ""
    assert [word for word in ("Searched:", "Fixed:", "Source:") if word not in text] == []


def test_an_unknown_family_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(RecipeError, match=r"'alexnot'.*Known: .*mobilenet.*, resnet"):
        search_spaces.family("alexnot")


def test_what_families_share_is_not_a_family() -> None:
    with pytest.raises(RecipeError, match="'base'"):
        search_spaces.family("base")


def test_naming_the_families_needs_no_keras() -> None:
    code = "import sys, search_spaces as s; print(s.families()); print('keras' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines() == [str(search_spaces.families()), "False"]
