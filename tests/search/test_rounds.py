"""One round of a search: what its trials are told to train."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.pretended import EPOCHS, search
from support.pretended import ctx as ctx

from pipeline.context import Context
from pipeline.search.oracles.base import Span
from pipeline.search.rounds import Round
from pipeline.train.checkpoint import CHECKPOINT


class Proposing:
    """An oracle of two trials, of which the second goes on with the network of the first."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def span(self, trial: Any) -> Span:
        return Span(0, 3) if trial.trial_id == "0" else Span(3, EPOCHS, "0")

    def trial_dir(self, trial_id: str) -> Path:
        made = self.directory / f"trial_{trial_id}"
        made.mkdir(parents=True, exist_ok=True)
        return made

    def origin(self, trial: Any) -> str:
        return "0"


@pytest.fixture
def own(ctx: Context) -> Round:
    found = search(ctx, seconds=1000.0, threads=3)
    parts = found.plan, found.space, found.costs, ctx, found.time
    return Round(Proposing(ctx.directory / "trials"), "refined-", 7, *parts)


def proposed(own: Round, trial_id: str) -> Any:
    hyperparameters = own.space.hyperparameters()
    values = {hp.name: hp.random_sample(1) for hp in hyperparameters.space}
    return SimpleNamespace(trial_id=trial_id, hyperparameters=SimpleNamespace(values=values))


def test_a_network_that_goes_on_has_the_seed_and_schedule_of_the_first(own: Round) -> None:
    (own.oracle.trial_dir("0") / CHECKPOINT).touch()
    first, second = (own.task(proposed(own, trial_id)) for trial_id in ("0", "1"))
    assert (first.seed, second.seed) == (7, 7)
    assert (first.first, first.last, first.epochs) == (0, 3, 3)
    assert (second.first, second.last, second.epochs) == (3, EPOCHS, EPOCHS - 3)
    assert second.settings["epochs"] == EPOCHS
    assert second.parent == first.directory
    assert second.threads == 3


def test_without_the_checkpoint_of_the_first_a_schedule_of_its_own_begins(own: Round) -> None:
    task = own.task(proposed(own, "1"))
    assert task.last is None
    assert task.settings["epochs"] == EPOCHS - 3


def test_an_interrupted_trial_keeps_its_epochs_when_time_gets_short(own: Round) -> None:
    own.time.rows.append(
        {"trial_id": "9", "history": {"val/loss": [1.0]}, "seconds": 11.0, "epoch_seconds": 10.0}
    )
    before = own.task(proposed(own, "0")).epochs
    own.time.before = 980.0
    assert own.task(proposed(own, "0")).epochs == before == 3
    (own.oracle.trial_dir("0") / "epochs.json").unlink()
    assert own.task(proposed(own, "0")).epochs == 1
