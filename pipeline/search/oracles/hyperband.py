"""Hyperband: train many networks for few epochs, then the best third for more, repeatedly.

Every bracket begins with random points and few epochs. The best third of a round are trained to
three times the epochs, starting from the weights that they have.

The oracle of keras-tuner promotes nothing once half of a round has failed, and keeps its state in
memory, which a kill loses. Here the next proposal follows from the trials on disk alone.

Source: Li et al. 2018, https://jmlr.org/papers/v18/16-558.html, algorithm 1.
"""

import math
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from pipeline.search.oracles.base import BudgetOracle, Span

FACTOR = 3
HALVINGS = (
    2  # rounds after the first in a bracket; scores after fewer epochs predict the last little
)


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
        if self.haste == 2:
            return self._last()
        for bracket in range(self._brackets_begun() + 1):
            rounds = self._rounds(bracket)
            if not self._is_full(bracket) and self.haste == 0 and self._sampled() < self.networks:
                values = self._sample(self._get_num_brackets() - len(rounds))
                if values is not None:
                    return self._proposal(values | self._place(bracket, 0))
                self.networks = self._sampled()
            for number in range(1, len(rounds)):
                if candidate := self._candidate(rounds[number - 1], rounds[number]):
                    values = candidate.hyperparameters.values | self._place(bracket, number)
                    values["tuner/trial_id"] = candidate.trial_id
                    return self._proposal(values)
        return self._proposal(None)

    def waits(self) -> bool:
        """Whether a round has to end before the best of it are known."""
        if self._retry_queue:
            return False
        newest = max(self._brackets_begun() - 1, 0)
        if self.haste == 0 and not self._is_full(newest) and self._sampled() < self.networks:
            return False
        rounds = self._rounds(newest)
        running = [any(t.status == TrialStatus.RUNNING for t in one) for one in rounds]
        if self.haste == 2:
            return any(running)
        for number in range(1, len(rounds)):
            before, after = rounds[number - 1], rounds[number]
            if running[number - 1] and len(after) < math.ceil(len(before) / FACTOR):
                return True
            if self._candidate(before, after):
                return False
        return False

    def _sample(self, rung: int) -> dict[str, Any] | None:
        """Draw a network whose bracket begins with the epochs of a rung, 0 the fewest."""
        return self._random_values()

    def span(self, trial: Trial) -> Span:
        """Epochs from the end of the last round to the end of this one."""
        values = trial.hyperparameters.values
        return Span(
            values["tuner/initial_epoch"], values["tuner/epochs"], values.get("tuner/trial_id")
        )

    def promotable(self) -> set[str]:
        """Those of the newest bracket that have not gone on."""
        newest = max(self._brackets_begun() - 1, 0)
        gone = self._gone()
        found = [t for trials in self._rounds(newest) for t in trials]
        return {str(t.trial_id) for t in found if t.trial_id not in gone}

    def ahead(self) -> tuple[int, int] | None:
        """Epochs of the next trial, and of one that then takes the best network to the end."""
        newest = max(self._brackets_begun() - 1, 0)
        step, best = self._waiting(newest), self._best(newest)
        if self.haste == 0 and self._sampled() < self.networks:
            is_full = self._is_full(newest)
            first = self._place(newest + 1 if is_full else newest, 0)["tuner/epochs"]
            return (step if step and is_full else first), self.epochs - first
        if step is None or best is None:
            return None
        return step, self.epochs - best.hyperparameters.values["tuner/epochs"]

    def _waiting(self, bracket: int) -> int | None:
        """Epochs of the next promotion in a bracket, if one can be made once its rounds end."""
        rounds = self._rounds(bracket)
        for number in range(1, len(rounds)):
            if len(rounds[number]) < math.ceil(len(rounds[number - 1]) / FACTOR):
                place = self._place(bracket, number)
                return int(place["tuner/epochs"] - place["tuner/initial_epoch"])
        return None

    def _best(self, bracket: int) -> Trial | None:
        """The best trial of a bracket that has not come to the end, if none has."""
        rounds = self._rounds(bracket)
        if rounds[-1]:
            return None
        return next(iter(self.best_first(trial for trials in rounds for trial in trials)), None)

    def _last(self) -> dict[str, Any]:
        """Propose to train the best network of the newest bracket to the end."""
        bracket = max(self._brackets_begun() - 1, 0)
        best = self._best(bracket)
        if best is None:
            return self._proposal(None)
        place = self._place(bracket, len(self._rounds(bracket)) - 1)
        place["tuner/initial_epoch"] = best.hyperparameters.values["tuner/epochs"]
        values = best.hyperparameters.values | place | {"tuner/trial_id": best.trial_id}
        return self._proposal(values)

    def _get_size(self, bracket_num: int, round_num: int) -> int:
        """Networks in a round; keras-tuner counts brackets as if they began with one epoch."""
        last: float = self._get_num_brackets() / (bracket_num + 1)
        return math.ceil(last * float(FACTOR) ** (bracket_num - round_num))

    def _candidate(self, before: list[Trial], promoted: list[Trial]) -> Trial | None:
        """The best of a round that has not gone on yet; None if enough have."""
        if len(promoted) >= math.ceil(len(before) / FACTOR):
            return None
        gone = self._gone()
        return next((t for t in self.best_first(before) if t.trial_id not in gone), None)

    def _gone(self) -> set[str | None]:
        """Trials whose networks have gone on in another."""
        return {t.hyperparameters.values.get("tuner/trial_id") for t in self.trials.values()}

    def _is_full(self, bracket: int) -> bool:
        """Whether the first round of a bracket has all of its networks."""
        rounds = self._rounds(bracket)
        return len(rounds[0]) >= self._get_size(len(rounds) - 1, 0)

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
