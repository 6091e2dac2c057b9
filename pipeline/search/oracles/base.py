"""What all oracles share: they propose only what fits the budget, and survive a kill.

A point over the budget is refused before it becomes a trial, so it costs neither a trial nor
training. State is written atomically, and a trial that was running at a kill is proposed again.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras_tuner
import numpy as np
from keras_tuner.engine.hyperparameters import Choice
from keras_tuner.engine.trial import Trial, TrialStatus

from pipeline.search import pareto, repair
from pipeline.search.prior import Prior
from pipeline.system.files import write_atomic

Values = Mapping[str, Any]
Fits = Callable[[Values], bool]
Pick = Callable[[Any, int], Any]  # of a choice and a seed, a value
NEVER = 10**9
GROWN = (True, True, False)  # ways in which a network is made larger: in turn, or in any order
GAIN = 1.25  # how much larger the last of them has to be


class Span(NamedTuple):
    """What a trial trains: epochs `first` (from 0) to `last` (not included)."""

    first: int
    last: int
    parent: str | None = None  # the trial whose network goes on training


def _anything(hp: Any, seed: int) -> Any:
    """Any value of a choice, all as likely."""
    return hp.random_sample(seed)


class BudgetOracle(keras_tuner.Oracle):
    """An oracle over the points that fit; list it before a keras-tuner oracle as a base class.

    Args:
        space: All hyperparameters, registered.
        fits: Whether the network of these values keeps every bound of the budget.
        directory: Where trials and state are kept; an interrupted search there is resumed.
        trials: Networks to try, failed ones included.
        epochs: Most epochs that a network is trained.
        seed: The same seed and the same scores give the same points.
        against: Name of the cost that is weighed against accuracy; None: accuracy alone counts.
        may_fit: A quick check that only refuses points which `fits` refuses too, for oracles that
            look at many points.
        options: Of the keras-tuner oracle.
    """

    attempts = 100  # points drawn for one trial, before points are made that fit
    repairs = 8  # points of each family that are made to fit, before the search ends as exhausted

    def __init__(
        self,
        space: keras_tuner.HyperParameters,
        fits: Fits,
        directory: Path,
        *,
        trials: int,
        epochs: int,
        seed: int,
        against: str | None = None,
        may_fit: Fits | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            objective=keras_tuner.Objective("val_accuracy", "max"),
            hyperparameters=space,
            allow_new_entries=False,
            tune_new_entries=False,
            seed=seed + 1,  # keras-tuner takes a seed of 0 for none
            max_consecutive_failed_trials=NEVER,
            **options,
        )
        self.max_trials: int | None = trials
        self.foreseen = trials  # networks that there will be: fewer, where the time ends a search
        self.epochs = epochs
        self.verbose = 0
        # Time is short. 1: sample no more networks; 2: train only the best one, to the end.
        self.haste = 0
        self._proposed = 0
        # for oracles that go by it: what a good hand would try first; the size of networks, which
        # then grow up to the budget
        self.prior = Prior({})
        self.size: Callable[[Values], float] | None = None
        self.admitted = self.refused = 0  # points that fit, and that did not
        self._fits = fits
        self._against = against
        self._may_fit = may_fit or fits
        self._set_project_dir(directory.parent, directory.name)
        if Path(self._get_oracle_fname()).exists():
            self.reload()

    def propose(self) -> Trial | None:
        """Return the next trial to run, an interrupted one first; None when the search is over."""
        self._seed_state = int(self._rng().integers(2**31))  # as it would be without a kill
        self._proposed += 1  # keras-tuner has one running trial for each name of a tuner
        trial = self.create_trial(f"tuner{self._proposed}")
        return trial if trial.status == TrialStatus.RUNNING else None

    def finish(self, trial: Trial, scores: Mapping[str, float] | None, error: str | None) -> None:
        """Record how a trial ended.

        Args:
            trial: What `propose` returned.
            scores: `val_accuracy`, `val_loss` and the cost that is weighed against accuracy;
                None for a trial that failed.
            error: Why it failed.
        """
        if scores is None:
            trial.status, trial.message = TrialStatus.FAILED, error
        else:
            for name in scores:
                if not trial.metrics.exists(name):
                    trial.metrics.register(name, "max" if name == "val_accuracy" else "min")
            self.update_trial(trial.trial_id, dict(scores))
            trial.status = TrialStatus.COMPLETED
        self.end_trial(trial)

    def span(self, trial: Trial) -> Span:
        """Which epochs a trial trains, and the trial that it continues."""
        return Span(0, self.epochs)

    def origin(self, trial: Trial) -> str:
        """The first trial of the same network."""
        while (parent := self.span(trial).parent) is not None:
            trial = self.trials[parent]
        return str(trial.trial_id)

    def waits(self) -> bool:
        """Whether the next proposal needs the results of trials that are running."""
        return False

    def promotable(self) -> set[str]:
        """Trials that have ended and may still be continued by another trial."""
        return set()

    def ahead(self) -> tuple[int, int] | None:
        """Epochs of the next trial, and then of taking the best network to the end.

        None for oracles whose trials do not continue each other: any trial can be the last.
        """
        return None

    def ended(self) -> list[Trial]:
        """Trials that completed or failed, in the order in which they ended."""
        return [self.trials[trial_id] for trial_id in self.end_order]

    def best_first(self, trials: Iterable[Trial]) -> list[Trial]:
        """Sort completed trials: by accuracy, then loss; or by fronts if a cost counts as well."""
        done = [t for t in trials if t.status == TrialStatus.COMPLETED]
        if self._against is None:
            return sorted(done, key=lambda t: (-_metric(t, "val_accuracy"), _metric(t, "val_loss")))
        points = [(-_metric(t, "val_accuracy"), _metric(t, self._against)) for t in done]
        return [done[i] for i in pareto.order(np.array(points).reshape(-1, 2))]

    def trial_dir(self, trial_id: str) -> Path:
        """Directory of a trial's files."""
        return Path(self._get_trial_dir(trial_id))

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Draw a point at random; subclasses do better."""
        return self._proposal(self._random_values())

    def _proposal(self, values: Values | None) -> dict[str, Any]:
        status = TrialStatus.STOPPED if values is None else TrialStatus.RUNNING
        return {"status": status, "values": values}

    def _random_values(
        self, fits: Fits | None = None, pick: Pick = _anything, family: str | None = None
    ) -> dict[str, Any] | None:
        """Draw points until one fits, else make one that does; None if there is no new one.

        The first choice, the family, is drawn first and keeps its share of the attempts: drawn
        anew each time, families of which most networks are over the budget would starve.

        Args:
            fits: What they have to fit; None: all of the budget.
            pick: Draws the value of a choice.
            family: Of which they are; None: of any.
        """
        first = self.hyperparameters.space[0]
        values = list(getattr(first, "values", [None])) if isinstance(first, Choice) else [None]
        np.random.default_rng(self._seed_state).shuffle(values)
        share = max(1, self.attempts // len(values))
        for value in values if family is None else [family]:
            fixed = {} if value is None else {first.name: value}
            for _ in range(share):
                drawn = self._drawn(fixed, pick)
                if self._admit(drawn, fits):
                    return drawn
            for _ in range(self.repairs):
                if made := self._repaired(self._drawn(fixed, pick), fits):
                    return made
        return None

    def _repaired(self, values: Values, fits: Fits | None = None) -> dict[str, Any] | None:
        """Change the network of a point step by step until it fits."""
        rng = np.random.default_rng(self._seed_state)
        walks = repair.walks(self.hyperparameters, values, rng)
        return next((changed for changed in walks if self._admit(changed, fits)), None)

    def _grown(self, values: dict[str, Any] | None) -> dict[str, Any] | None:
        """Make a network as large as the budget allows, unless that has been tried."""
        if values is None or self.size is None:
            return values
        rng, size = self._rng(), self.size
        ways = [
            repair.raised(self.hyperparameters, values, rng, self._may_fit, in_turn)
            for in_turn in GROWN
        ]
        *ordered, free = ways
        made = max(ordered, key=size)
        if size(free) > GAIN * size(made):
            made = free
        return made if made != values and self._admit(made) else values

    def _drawn(self, fixed: Values, pick: Pick = _anything) -> dict[str, Any]:
        """A point at random but for what is fixed."""
        hps = keras_tuner.HyperParameters()
        for hp in self.hyperparameters.space:
            hps.merge([hp])
            if hps.is_active(hp):
                self._seed_state += 1
                value = fixed[hp.name] if hp.name in fixed else pick(hp, self._seed_state)
                hps.values[hp.name] = value
        return dict(hps.values)

    def _admit(self, values: Values, fits: Fits | None = None) -> bool:
        """Whether a point is new and fits; remembers and counts what does not fit."""
        if self._duplicate(values):
            return False
        if (fits or self._fits)(values):
            self.admitted += 1
            return True
        self.refused += 1
        self._tried_so_far.add(self._compute_values_hash(values))
        return False

    def _rng(self) -> np.random.Generator:
        """Random numbers of this proposal: the same after a kill."""
        return np.random.default_rng([self.seed, len(self.trials)])

    def get_state(self) -> dict[str, Any]:
        """What `oracle.json` holds."""
        return {**super().get_state(), "admitted": self.admitted, "refused": self.refused}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what `oracle.json` holds."""
        super().set_state(state)
        self.admitted, self.refused = state["admitted"], state["refused"]

    def save(self) -> None:
        """Write `oracle.json` whole or not at all."""
        write_atomic(Path(self._get_oracle_fname()), json.dumps(self.get_state()))

    def _save_trial(self, trial: Trial) -> None:
        state = trial.get_state() | {"admitted": self.admitted, "refused": self.refused}
        write_atomic(self.trial_dir(trial.trial_id) / "trial.json", json.dumps(state))

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
            state = json.loads((self.trial_dir(trial.trial_id) / "trial.json").read_text())
            self.admitted = max(self.admitted, state["admitted"])
            self.refused = max(self.refused, state["refused"])


def chosen(values: Values) -> dict[str, Any]:
    """The choices of a point, without the notes of keras-tuner's Hyperband."""
    return {k: v for k, v in values.items() if not k.startswith("tuner/")}


def _metric(trial: Trial, name: str) -> float:
    return float(trial.metrics.get_best_value(name)) if trial.metrics.exists(name) else 0.0
