"""Settings of training: those that were found, and those that are given in their place."""

from typing import Any

import pytest
from pydantic import ValidationError

from pipeline import stage
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
