"""keras-tuner oracles that never propose what breaks the budget, and that survive a kill.

A point over the budget is refused before it becomes a trial, so it costs neither a trial nor
training. State is written atomically, and what was running when the process died is run again.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from pipeline.artifact import write_atomic

Values = Mapping[str, Any]
NEVER = 10**9


class RandomOracle(keras_tuner.oracles.RandomSearchOracle):
    """Random search over the points that fit.

    Args:
        space: All hyperparameters, registered.
        fits: Whether the network of these values keeps every bound of the budget.
        directory: Where trials and state are kept; what is there is taken up again.
        max_trials: Trials to run, failed ones included.
        seed: Same seed, same points.
        attempts: Points to draw for one trial before the search ends as exhausted.
    """

    def __init__(
        self,
        space: keras_tuner.HyperParameters,
        fits: Callable[[Values], bool],
        directory: Path,
        *,
        max_trials: int,
        seed: int,
        attempts: int = 1000,
    ) -> None:
        super().__init__(
            objective=keras_tuner.Objective("val_accuracy", "max"),
            max_trials=max_trials,
            hyperparameters=space,
            allow_new_entries=False,
            tune_new_entries=False,
            seed=seed + 1,  # keras-tuner takes a seed of 0 for none
            max_consecutive_failed_trials=NEVER,
        )
        self.verbose = 0
        self.refused = 0
        self._fits = fits
        self._attempts = attempts
        self._set_project_dir(directory.parent, directory.name)
        if Path(self._get_oracle_fname()).exists():
            self.reload()

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Draw points until one fits; STOPPED when `attempts` have not found one."""
        for _ in range(self._attempts):
            values = self._random_values()
            if values is None:
                break
            if self._fits(values):
                return {"status": TrialStatus.RUNNING, "values": values}
            self.refused += 1
            self._tried_so_far.add(self._compute_values_hash(values))
        return {"status": TrialStatus.STOPPED, "values": None}

    def propose(self) -> Trial | None:
        """Return the next trial to run, an interrupted one first; None when the search is over."""
        trial = self.create_trial("tuner0")
        return trial if trial.status == TrialStatus.RUNNING else None

    def finish(self, trial: Trial, val_accuracy: float | None, error: str | None) -> None:
        """Record how a trial ended: its score, or None and the error that it failed with."""
        if val_accuracy is None:
            trial.status, trial.message = TrialStatus.FAILED, error
        else:
            self.update_trial(trial.trial_id, {"val_accuracy": val_accuracy})
            trial.status = TrialStatus.COMPLETED
        self.end_trial(trial)

    def ended(self) -> list[Trial]:
        """Trials that completed or failed, in the order in which they ended."""
        return [self.trials[trial_id] for trial_id in self.end_order]

    def trial_dir(self, trial: Trial) -> Path:
        """Directory of a trial's files."""
        return Path(self._get_trial_dir(trial.trial_id))

    def get_state(self) -> dict[str, Any]:
        """What `oracle.json` holds."""
        return {**super().get_state(), "refused": self.refused}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what `oracle.json` holds."""
        super().set_state(state)
        self.refused = state["refused"]

    def save(self) -> None:
        """Write `oracle.json` whole or not at all."""
        write_atomic(Path(self._get_oracle_fname()), json.dumps(self.get_state()))

    def _save_trial(self, trial: Trial) -> None:
        path = self.trial_dir(trial) / "trial.json"
        write_atomic(path, json.dumps(trial.get_state()))

    def reload(self) -> None:
        """Take up an interrupted search.

        A trial's own file is newer than `oracle.json` if the process died between the two
        writes, so the trials decide what has ended and what runs again.
        """
        super().reload()
        unfinished = (TrialStatus.RUNNING, TrialStatus.INVALID)
        ids = sorted(self.trials)
        self._retry_queue = [i for i in reversed(ids) if self.trials[i].status in unfinished]
        self.start_order = ids
        self.end_order = [i for i in ids if self.trials[i].status not in unfinished]
        for trial in self.trials.values():
            self._record_values(trial)
