"""The stage slim: a narrower network, trained as its source was, and a row per layer."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from support.chain import run, saved
from support.context import make_context

import search_spaces
from pipeline.artifact import Artifact
from pipeline.context import Attempt
from pipeline.data.datasets import Dataset
from pipeline.graph import complexity
from pipeline.objective import Goal
from pipeline.stages import slim
from search_spaces.base import Cheapest, build


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, few_digits: Dataset) -> Artifact:
    """An untrained network of a family, as finetune would leave it."""
    keras.utils.set_random_seed(0)
    arch = search_spaces.family("mobilenet").sample(Cheapest())
    model = build("mobilenet", arch, few_digits.image_shape, few_digits.num_classes)
    found = saved(model, tmp_path_factory.mktemp("float"))
    return found.model_copy(update={"family": "mobilenet", "arch": arch.model_dump(mode="json")})


def flops(artifact: Artifact) -> int:
    return complexity.profile(keras.models.load_model(artifact.model_path, compile=False)).flops


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="magnitude"),
        pytest.param(
            {"penalize": True, "penalty_epochs": 1, "expand": 1.5},
            id="penalize, expand",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_half_of_the_flops_are_left_and_the_arch_is_not(
    source: Artifact, few_digits: Dataset, tmp_path: Path, settings: dict[str, Any]
) -> None:
    made = run("slim", source, few_digits, tmp_path, epochs=2, **settings)
    assert flops(made) == made.details.flops_after <= flops(source) // 2
    assert made.family is made.arch is None
    assert made.settings == source.settings
    epochs = 2 + settings.get("penalty_epochs", 0)
    assert {len(curve) for curve in made.details.history.values()} == {epochs}
    assert not (made.directory / slim.NARROWED).exists()
    gone = {row["layer"] for row in made.details.layers if row["treatment"] == "slimmed"}
    assert {name.split(" channel ")[0] for name in made.details.removed_channels} <= gone
    with Image.open(made.directory / slim.REMOVED) as picture:
        assert len(made.details.removed_channels) == 4
        assert np.ptp(np.asarray(picture)) > 0


@pytest.mark.slow
def test_every_layer_says_how_many_channels_it_had_and_why_it_kept_them(
    source: Artifact, few_digits: Dataset, tmp_path: Path
) -> None:
    made = run("slim", source, few_digits, tmp_path, epochs=1)
    rows = {row["layer"]: row for row in made.details.layers}
    model = keras.models.load_model(made.model_path, compile=False)
    for name, row in rows.items():
        assert row["channels_after"] == model.get_layer(name).output.shape[-1]
        assert (row["treatment"] == "slimmed") == (row["channels_after"] < row["channels_before"])
        assert row["reason"]
    assert rows["logits"]["treatment"] == "skipped"
    assert "slimmed" in {row["treatment"] for row in rows.values()}


def test_a_network_within_the_target_is_passed_on(
    source: Artifact, few_digits: Dataset, tmp_path: Path
) -> None:
    made = run("slim", source, few_digits, tmp_path, flops="1G")
    assert flops(made) == flops(source)
    assert (made.family, made.arch) == (source.family, source.arch)


def test_a_penalty_on_gamma_refuses_another_score() -> None:
    with pytest.raises(ValidationError, match="Received: penalize=True, score='l2'"):
        slim.Config(penalize=True, score="l2")


@pytest.mark.slow
def test_channels_are_removed_from_an_attempt_by_the_flops_of_the_input(
    source: Artifact, few_digits: Dataset, tmp_path: Path
) -> None:
    first = run("slim", source, few_digits, tmp_path, epochs=1, keep=0.7)
    attempt = Attempt(source, tmp_path, Goal(0.0, 0.1, 100))
    context = make_context(tmp_path / "next" / "slim", few_digits, attempt=attempt)
    made = slim.run(first, slim.Config(epochs=1, keep=0.5), context)
    assert made.details.flops_before == flops(source)
    assert made.details.flops_after == flops(made) <= 0.5 * flops(source) < flops(first)
    rows = {row["layer"]: row["channels_before"] for row in made.details.layers}
    assert rows == {row["layer"]: row["channels_before"] for row in first.details.layers}


def test_a_penalty_or_a_widening_begins_from_the_input() -> None:
    for settings in ({"penalize": True}, {"expand": 1.5}):
        steps = slim.ladder(slim.Config(**settings))
        assert not steps.goes_on(steps.rungs[0], steps.rungs[1])
    steps = slim.ladder(slim.Config())
    assert steps.goes_on(steps.rungs[0], steps.rungs[1])
