"""Hyperband: train many networks for little, and go on with the best third, again and again.

Every bracket begins with random points and few epochs; the best third of a round go on to three
times the epochs, from the weights that they have.

keras-tuner promotes nothing once half of a round has failed, and repeats its last bracket from
memory that a kill loses; here the trials alone say what is next.

Source: Li et al. 2018, https://jmlr.org/papers/v18/16-558.html, algorithm 1.
"""

import math
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial

from pipeline.oracles.base import BudgetOracle, Span

FACTOR = 3
HALVINGS = 2  # of the first bracket: rounds of fewer epochs tell little of the last


class Oracle(BudgetOracle, keras_tuner.oracles.HyperbandOracle):
    """`trials` counts networks; one that is promoted is another trial of the same network."""

    def __init__(self, *args: Any, trials: int, epochs: int, **options: Any) -> None:
        self.networks = trials
        super().__init__(
            *args, trials=trials, epochs=epochs, max_epochs=epochs, factor=FACTOR, **options
        )
        self.max_trials = None
        self.min_epochs = max(1, epochs // FACTOR**HALVINGS)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Finish what has begun: promote if a round is complete, sample if it is not."""
        for bracket in range(self._brackets_begun() + 1):
            rounds = self._rounds(bracket)
            if len(rounds[0]) < self._get_size(len(rounds) - 1, 0) and self._sampled() < (
                self.networks
            ):
                values = self._random_values()
                if values is not None:
                    return self._proposal(values | self._place(bracket, 0))
                self.close()
            for number in range(1, len(rounds)):
                if candidate := self._candidate(rounds[number - 1], rounds[number]):
                    values = candidate.hyperparameters.values | self._place(bracket, number)
                    values["tuner/trial_id"] = candidate.trial_id
                    return self._proposal(values)
        return self._proposal(None)

    def span(self, trial: Trial) -> Span:
        """Epochs from the end of the last round to the end of this one."""
        values = trial.hyperparameters.values
        return Span(
            values["tuner/initial_epoch"], values["tuner/epochs"], values.get("tuner/trial_id")
        )

    def owed(self) -> list[int]:
        """Epochs of each promotion of the newest bracket."""
        bracket = max(self._brackets_begun() - 1, 0)
        rounds = self._rounds(bracket)
        found, entrants = [], len(rounds[0])
        for number in range(1, len(rounds)):
            entrants = math.ceil(entrants / FACTOR)
            place = self._place(bracket, number)
            each = place["tuner/epochs"] - place["tuner/initial_epoch"]
            found += [each] * (entrants - len(rounds[number]))
        return found

    def close(self) -> None:
        """Sample no more networks; those there are can still be promoted."""
        self.networks = self._sampled()

    def _get_size(self, bracket_num: int, round_num: int) -> int:
        """Networks in a round; keras-tuner counts brackets as if they began with one epoch."""
        last: float = self._get_num_brackets() / (bracket_num + 1)
        return math.ceil(last * float(FACTOR) ** (bracket_num - round_num))

    def _candidate(self, before: list[Trial], promoted: list[Trial]) -> Trial | None:
        """The best of a round that has not gone on yet; None if enough have."""
        if len(promoted) >= math.ceil(len(before) / FACTOR):
            return None
        gone = {t.hyperparameters.values["tuner/trial_id"] for t in promoted}
        return next((t for t in self.best_first(before) if t.trial_id not in gone), None)

    def _sampled(self) -> int:
        """Networks tried so far."""
        return sum(1 for t in self.trials.values() if not t.hyperparameters.values["tuner/round"])

    def _brackets_begun(self) -> int:
        begun = [t.hyperparameters.values["tuner/bracket"] for t in self.trials.values()]
        return max(begun, default=-1) + 1

    def _rounds(self, bracket: int) -> list[list[Trial]]:
        """Trials of each round of a bracket; the first bracket has the most rounds."""
        count = self._get_num_brackets()
        rounds: list[list[Trial]] = [[] for _ in range(count - bracket % count)]
        for trial in self.trials.values():
            values = trial.hyperparameters.values
            if values["tuner/bracket"] == bracket:
                rounds[values["tuner/round"]].append(trial)
        return rounds

    def _place(self, bracket: int, number: int) -> dict[str, Any]:
        """What keras-tuner notes of a trial in round `number`."""
        halvings = len(self._rounds(bracket)) - 1
        return {
            "tuner/bracket": bracket,
            "tuner/round": number,
            "tuner/initial_epoch": self._get_epochs(halvings, number - 1) if number else 0,
            "tuner/epochs": self._get_epochs(halvings, number),
        }
