"""A search over a small space, whose trials train nothing: what oracles are tested on."""

import json
import math
import os
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras_tuner
import pytest

from pipeline.search import oracles
from pipeline.search.prior import Prior

Values = Mapping[str, Any]
ENDED = ("COMPLETED", "FAILED")
EPOCHS = 9


def cost(values: Values) -> int:
    """A cheap stand-in for FLOPs, over a space with a condition like that of the families."""
    if values["family"] == "wide":
        return int(values["wide/width"] ** 2 * 10)
    return int(values["deep/depth"] * values["deep/kernel"] ** 2 * 10)


def space(continuous: bool = True) -> keras_tuner.HyperParameters:
    hp = keras_tuner.HyperParameters()
    hp.Choice("family", ["wide", "deep"])
    with hp.conditional_scope("family", ["wide"]):
        hp.Choice("wide/width", [2, 4, 8, 16])
    with hp.conditional_scope("family", ["deep"]):
        hp.Choice("deep/depth", [1, 2, 3])
        hp.Choice("deep/kernel", [3, 5])
    if continuous:
        hp.Float("rate", 1e-4, 1e-2, sampling="log")
    return hp


class Search:
    """Oracles over one directory, each a process in turn, and what they were asked and told."""

    def __init__(self, directory: Path, trials: int, budget: float, **options: Any) -> None:
        self._directory = directory
        self._options = {"trials": trials, "epochs": EPOCHS, "seed": 0, **options}
        self._oracle = oracles.load(self._options.pop("oracle", "random"))
        self._continuous = self._options.pop("continuous", True)
        self._attempts = self._options.pop("attempts", self._oracle.attempts)
        self._prior = Prior(self._options.pop("likely", {}))
        self._budget, self._least = budget, self._options.pop("least", 0)
        self.asked: list[Values] = []
        self.proposed: list[str] = []

    def oracle(self) -> Any:
        def fits(values: Values) -> bool:
            self.asked.append(dict(values))
            return self._least <= cost(values) <= self._budget

        made = self._oracle(space(self._continuous), fits, self._directory, **self._options)
        made.attempts, made.prior, made.size = self._attempts, self._prior, cost
        return made

    def run(self, score: Callable[[Any], float | None] = lambda _: 0.5) -> Any:
        """Search to the end, as `pipeline.stages.search` does."""
        oracle = self.oracle()
        while (trial := oracle.propose()) is not None:
            self.proposed.append(trial.trial_id)
            value = score(trial)
            oracle.finish(trial, *outcome(value))
        return oracle

    def ended(self) -> set[str]:
        """Trials that have ended, according to the disk."""
        files = self._directory.glob("trial_*/trial.json")
        states = [json.loads(path.read_text()) for path in files]
        return {state["trial_id"] for state in states if state["status"] in ENDED}


def outcome(value: float | None) -> tuple[dict[str, float] | None, str | None]:
    """What a trial of this accuracy tells its oracle."""
    if value is None:
        return None, "it failed"
    return {"val_accuracy": value, "val_loss": 1 - value}, None


def rate_near_a_thousandth(trial: Any) -> float:
    """The best point is wide, and its rate 0.001."""
    values = trial.hyperparameters.values
    return (values["family"] == "wide") - abs(math.log10(values["rate"]) + 3)


def values_of(oracle: Any) -> list[dict[str, Any]]:
    return [trial.hyperparameters.values for trial in oracle.ended()]


class Kill:
    """Ends a process in the middle of a write: after as many whole ones as `allow` says."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._left, self._fsync = directory, math.inf, os.fsync
        self.writes = 0

    def allow(self, writes: float) -> None:
        self._left = writes

    def __call__(self, file: int) -> None:
        self.check_files()
        if self._left < 1:
            raise KeyboardInterrupt
        self._left -= 1
        self.writes += 1
        self._fsync(file)

    def check_files(self) -> None:
        """Every file that has its name is whole."""
        for path in self._directory.rglob("*.json"):
            json.loads(path.read_text())


@pytest.fixture
def killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kill:
    kill = Kill(tmp_path)
    monkeypatch.setattr(os, "fsync", kill)
    return kill


def late_score(place: Path, name: str) -> float:
    """Mean score of the later half of three searches."""
    found = []
    for seed in range(3):
        search = Search(place / f"{name}{seed}", 40, 700, seed=seed, oracle=name)
        oracle = search.run(rate_near_a_thousandth)
        found.append(statistics.mean(trial.score for trial in oracle.ended()[20:]))
    return statistics.mean(found)
