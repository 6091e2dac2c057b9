"""Augmentation grows for a network that has overfitted, and only for one."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.artifact import Artifact
from pipeline.data.augment.strength import Strength
from pipeline.details import Details
from pipeline.train.overfitting import strengthened
from pipeline.train.settings import Settings


def searched(train: float, val: float) -> Artifact:
    history = {"train/accuracy": [0.2, train], "val/accuracy": [0.2, val]}
    rows: Any = [
        {"trial_id": "0000", "history": {"train/accuracy": [1.0], "val/accuracy": [0.0]}},
        {"trial_id": "0001", "history": history},
    ]
    details = Details(trials=rows, winner="0001")
    return Artifact(stage="search", fingerprint="x", directory=Path(), details=details)


def after(found: Any, train: float, val: float, channels: int = 3) -> Any:
    settings = Settings(augmentation=found)
    return strengthened(settings, searched(train, val), channels).augmentation


@pytest.mark.parametrize(
    ("found", "channels", "grown"),
    [
        ("none", 3, "crop"),
        ("none", 1, "light"),
        ("crop", 3, "medium"),
        ("light", 1, "medium"),
        ("medium", 3, "strong"),
        ("strong", 3, "strong"),
    ],
)
def test_a_network_that_has_overfitted_gets_the_next_strength(
    found: str, channels: int, grown: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert after(found, 0.81, 0.73, channels) == grown
    assert ("81.0% of its training images and 73.0% of val" in caplog.text) == (found != grown)


def test_a_network_that_has_not_keeps_its_strength() -> None:
    assert after("none", 0.75, 0.73) == "none"
    assert after("none", 0.60, 0.73) == "none"


def test_a_mapping_of_a_recipe_stays() -> None:
    own = Strength(shift=0.1)
    assert after(own, 0.9, 0.5) == own


def test_a_network_that_was_not_searched_keeps_its_strength() -> None:
    source = Artifact(stage="load", fingerprint="x", directory=Path())
    assert strengthened(Settings(), source, 3).augmentation == "none"
