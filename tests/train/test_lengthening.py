"""A long training gets the augmentation and the batches that its short trial could do without."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.artifact import Artifact
from pipeline.data.augment.strength import Strength
from pipeline.details import Details
from pipeline.train import lengthening
from pipeline.train.lengthening import strengthened
from pipeline.train.settings import Settings


def searched(train: float, val: float) -> Artifact:
    history = {"train/accuracy": [0.2, train], "val/accuracy": [0.2, val]}
    rows: Any = [
        {"trial_id": "0000", "history": {"train/accuracy": [1.0], "val/accuracy": [0.0]}},
        {"trial_id": "0001", "history": history},
    ]
    details = Details(trials=rows, winner="0001")
    return Artifact(stage="search", fingerprint="x", directory=Path(), details=details)


def after(found: Any, train: float, val: float, channels: int = 3, epochs: float = 4) -> Any:
    settings = Settings(augmentation=found)
    return strengthened(settings, searched(train, val), channels, epochs).augmentation


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


@pytest.mark.parametrize(
    ("found", "channels", "epochs", "grown"),
    [
        ("none", 3, 30, "crop"),
        ("none", 1, 30, "light"),
        ("none", 3, 9, "none"),  # too short to overfit
        ("crop", 3, 300, "crop"),
    ],
)
def test_a_training_much_longer_than_its_trial_has_some(
    found: str, channels: int, epochs: float, grown: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert after(found, 0.60, 0.60, channels, epochs) == grown
    assert ("the trial's 2 could not" in caplog.text) == (found != grown)


def test_how_long_a_training_will_be() -> None:
    source = searched(0.6, 0.6)
    source.details.trials[1]["epoch_seconds"] = 20.0
    assert lengthening.expected(source, 30, None) == 30
    assert lengthening.expected(source, 30, 1000.0) == 50
    assert (
        lengthening.expected(Artifact(stage="load", fingerprint="x", directory=Path()), 7, 9) == 7
    )


def test_a_mapping_of_a_recipe_stays() -> None:
    own = Strength(shift=0.1)
    assert after(own, 0.9, 0.5) == own


def test_a_network_that_was_not_searched_keeps_its_strength() -> None:
    source = Artifact(stage="load", fingerprint="x", directory=Path())
    assert strengthened(Settings(), source, 3, 100).augmentation == "none"


@pytest.mark.parametrize(
    ("optimizer", "images", "epochs", "batch", "rate"),
    [
        ("nesterov", 45_000, 40, 128, 0.4),  # 0.05 * 128 / 16, and not above twice the usual
        ("momentum", 3_000, 40, 32, 0.1),  # 3,000 updates
        ("nesterov", 1_000, 40, 16, 0.05),  # larger ones would leave fewer
        ("nesterov", 45_000, 5, 16, 0.05),  # no longer than the trial
        ("adam", 45_000, 40, 16, 0.05),
    ],
)
def test_batches_grow_as_far_as_updates_are_left(
    optimizer: Any,
    images: int,
    epochs: float,
    batch: int,
    rate: float,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    source = searched(0.6, 0.6)
    source.details.trials[1]["history"]["val/loss"] = [2.0, 1.0]
    settings = Settings(optimizer=optimizer, learning_rate=0.05, batch_size=16)
    found = lengthening.batched(settings, source, images, epochs)
    assert (found.batch_size, found.learning_rate) == (batch, pytest.approx(rate))
    assert (f"batches of {batch} instead of 16" in caplog.text) == (batch != 16)


def test_a_network_that_was_not_searched_keeps_its_batches() -> None:
    source = Artifact(stage="load", fingerprint="x", directory=Path())
    settings = Settings(optimizer="nesterov", batch_size=16)
    assert lengthening.batched(settings, source, 45_000, 100) == settings
