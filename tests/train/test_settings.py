"""Settings of training: those that were found, and those that are given in their place."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline import recipe, stage
from pipeline.errors import RecipeError
from pipeline.train import settings
from pipeline.train.settings import Settings


def test_what_is_given_replaces_what_was_found() -> None:
    made = settings.merged({"epochs": 3, "learning_rate": 0.1}, {"epochs": 9})
    assert (made.epochs, made.learning_rate) == (9, 0.1)


def test_a_found_warm_up_goes_where_the_given_schedule_has_none() -> None:
    made = settings.merged({"schedule": "cosine", "warmup": 0.1}, {"schedule": "plateau"})
    assert made.warmup == 0


def test_settings_that_cannot_be_had_together_are_one_line() -> None:
    with pytest.raises(RecipeError, match="nothing would be trained"):
        settings.merged({"epochs": 3}, {"old_rate": 0.0})


@pytest.mark.parametrize("name", ["prune", "cluster"])
def test_a_single_layer_is_exempt_without_brackets(name: str) -> None:
    config = stage.load(name).Config
    assert config(exempt="stem").exempt == config(exempt=["stem"]).exempt == ("stem",)


@pytest.mark.parametrize(
    "setting",
    [
        {"epochs": 0},
        {"optimizer": "adm"},
        {"learning_rate": 0},
        {"batch_size": 1},
        {"schedule": "linear"},
        {"patience": 0},
        {"grace": 0},
        {"label_smoothing": 1},
        {"augmentation": "heavy"},
        {"schedule": "plateau", "warmup": 0.1},
        {"epoch": 3},
    ],
)
def test_a_setting_that_cannot_be_trained_with_is_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(setting)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("class_weights=even", "class_weights: expected none, auto, or a weight by name of class"),
        ("class_weights=[1, 2]", "class_weights: expected none, auto, or a weight by name of"),
        ("class_weights={cat: 0}", "class_weights.cat: Input should be greater than 0. Received: "),
        ("sampling=even", "sampling: Input should be 'shuffled', 'stratified' or 'balanced'"),
    ],
)
@pytest.mark.parametrize("name", ["search", "finetune"])
def test_a_wrong_setting_of_classes_names_its_key(name: str, given: str, said: str) -> None:
    overrides = recipe.parse_overrides(f"{name}.{given}")
    with pytest.raises(RecipeError, match=re.escape(f"{name}.{said}")):
        recipe.load("smoke", overrides)


def test_names_of_classes_that_are_numbers_are_words() -> None:
    assert Settings(class_weights={7: 2}).class_weights == {"7": 2.0}


def test_what_a_search_found_holds_for_later_training_unless_another_is_given() -> None:
    found = {"class_weights": "auto", "sampling": "balanced"}
    assert settings.merged(found, {"epochs": 9}).class_weights == "auto"
    assert settings.merged(found, {"class_weights": "none"}).class_weights == "none"
