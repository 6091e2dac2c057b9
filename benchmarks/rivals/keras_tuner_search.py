"""keras-tuner's own Hyperband and random search over a space, within a budget and a time.

    python benchmarks/rivals/keras_tuner_search.py JOB.json RESULT.json

JOB.json holds the arguments of `run` by name, with `data` (fields of `DataConfig`) and
`data_seed` for the data set and the fields of `Space` for the space; RESULT.json, what `run`
returns. One method and one seed per process.

A point over the budget fails its trial in `build`, before anything is made of it, as keras-tuner
documents: https://keras.io/guides/keras_tuner/failed_trials/.

Source: Li et al. 2018, https://jmlr.org/papers/v18/16-558.html; keras-tuner 1.4.8.
"""

import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

import keras
import keras_tuner
from keras_tuner.engine.trial import TrialStatus

from pipeline.data.datasets import DataConfig, Dataset, load
from pipeline.data.stream import batch
from pipeline.graph import complexity
from pipeline.measure import metrics
from pipeline.search.space import Candidate, Space
from pipeline.train import training
from pipeline.train.initialization import lsuv
from pipeline.train.settings import Settings
from search_spaces import base

WITHOUT_END = 10**6  # trials, failures in a row, iterations: only the time ends a search


class Timed:
    """A tuner that proposes no trial after a time; `oracle.max_trials` ends any search."""

    def on_trial_end(self, trial: Any) -> None:
        """Look at the clock."""
        super().on_trial_end(trial)
        if time.monotonic() >= self.hypermodel.deadline:
            self.oracle.max_trials = len(self.oracle.trials)


class Hyperband(Timed, keras_tuner.Hyperband):
    """Hyperband that starts over until its time is up."""


class RandomSearch(Timed, keras_tuner.RandomSearch):
    """Random search until its time is up."""


class Networks(keras_tuner.HyperModel):
    """Builds and trains the points of a space; fails the trials of those over the budget."""

    def __init__(self, dataset: Dataset, space: Space, max_macs: int, seed: int) -> None:
        super().__init__()
        self.dataset, self.space, self.max_macs, self.seed = dataset, space, max_macs, seed
        # A tuner builds the default point when it is made, where it takes no failure.
        self.refuses = False
        self.deadline = float("inf")  # of `time.monotonic()`
        self.built = self.refused = self.trained = 0

    def macs(self, point: Candidate) -> int:
        """Count on shapes alone, which takes milliseconds; building takes a second."""
        shape, classes = self.dataset.image_shape, self.dataset.num_classes
        return complexity.count(point.family, point.arch, shape, classes).macs

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Make the network of a point, with the weights that a trial of ours starts from."""
        point = self.space.sample(hp)
        if self.refuses and (macs := self.macs(point)) > self.max_macs:
            self.refused += 1
            raise keras_tuner.errors.FailedTrialError(f"over the budget. Received: macs={macs}")
        self.built += 1
        keras.utils.set_random_seed(self.seed + self.built)
        shape, classes = self.dataset.image_shape, self.dataset.num_classes
        model = base.build(point.family, point.arch, shape, classes)
        if point.arch.model_dump().get("style", {}).get("init") == "lsuv":
            lsuv(model, batch(self.dataset.train, 64, self.seed)[0])
        return model

    def fit(
        self,
        hp: keras_tuner.HyperParameters,
        model: keras.Model,
        *,
        epochs: int,
        callbacks: list[Any],
        initial_epoch: int = 0,
        **_: Any,
    ) -> dict[str, float]:
        """Train the epochs that the tuner asks for; the schedule spans just those."""
        point = self.space.sample(hp)
        settings = Settings(**{**point.settings, "epochs": epochs - initial_epoch})
        seed = self.seed + self.built
        history = training.fit(
            model,
            self.dataset,
            settings,
            seed,
            training.Session(f"trial {self.built}", deadline=self.deadline),
            callbacks=callbacks,
        )
        self.trained += time.monotonic() < self.deadline
        return {"val_accuracy": max(history["val/accuracy"])}


def registered(space: Space) -> keras_tuner.HyperParameters:
    """All choices of a space, at their defaults: a tuner reads them before it draws any."""
    hp = space.hyperparameters()
    for choice in hp.space:
        if hp.is_active(choice):
            hp.values[choice.name] = choice.default
    return hp


def make(method: str, networks: Networks, epochs: int, directory: Path) -> Timed:
    """A tuner with its defaults, but for what would end it before its time.

    Args:
        method: "hyperband" or "random".
        networks: Also gives the space, with all its choices registered, and the seed.
        epochs: Most epochs of Hyperband; those of every trial of random search.
        directory: Where it keeps its files; what is there is overwritten.
    """
    options = {
        "hypermodel": networks,
        "objective": keras_tuner.Objective("val_accuracy", "max"),
        "hyperparameters": registered(networks.space),
        "seed": networks.seed + 1,  # keras-tuner takes a seed of 0 for none
        "max_consecutive_failed_trials": WITHOUT_END,  # 3 by default
        "directory": directory,
        "project_name": method,
        "overwrite": True,
    }
    if method == "random":
        return RandomSearch(max_trials=WITHOUT_END, **options)
    if method == "hyperband":
        return Hyperband(max_epochs=epochs, hyperband_iterations=WITHOUT_END, **options)
    raise ValueError(f"no such method. Received: method={method!r}. Known: hyperband, random")


def run(
    method: str,
    dataset: Dataset,
    space: Space,
    max_macs: int,
    seconds: float | tuple[float, float],
    epochs: int,
    seed: int,
    directory: Path,
) -> dict[str, Any]:
    """Search until the time is up and test the network that the tuner holds for the best.

    Two numbers of `seconds` are those of the search, and of training its winner longer.

    Returns:
        `test_error`, `val_accuracy` (the tuner's score) and `val_accuracy_reloaded` (measured on
        the reloaded weights: the same, if all is well), `family`, `arch`, `settings`, `macs`;
        `trials` = `trained` (to an end) + `cut_short` (by the time) + `refused` (over the budget)
        + `failed` (otherwise); `promoted`, those of `trials` that continued an earlier one;
        `seconds` of the search; `errors` that trials failed with otherwise; `error`, None or why
        there is no network.
    """
    start = time.monotonic()
    seconds, longer = (seconds, 0) if isinstance(seconds, float | int) else seconds
    networks = Networks(dataset, space, max_macs, seed)
    tuner = make(method, networks, epochs, directory)
    networks.refuses, networks.deadline = True, start + seconds
    # keras-tuner collects garbage twice per trial, which costs a refused one 20 times what it does
    # itself; what has been imported need not be walked each time.
    gc.freeze()
    tuner.search(epochs=epochs, verbose=0)
    result: dict[str, Any] = {
        "method": method,
        "seed": seed,
        "max_macs": max_macs,
        "seconds": round(time.monotonic() - start, 2),
        **_tally(networks, list(tuner.oracle.trials.values())),
    }
    best = tuner.oracle.get_best_trials(1)
    if not best or best[0].status != TrialStatus.COMPLETED:  # with none completed, a failed one
        return {**result, "error": "no trial was completed"}
    (model,) = tuner.get_best_models(1)
    point = space.sample(best[0].hyperparameters)
    reloaded = float(metrics.keras_hits(model, dataset.val).mean())
    if longer:
        result |= _trained_on(model, networks, point, longer)
    return {
        **result,
        "error": None,
        "val_accuracy": float(best[0].score),
        "val_accuracy_reloaded": reloaded,
        "test_error": 1 - float(metrics.keras_hits(model, dataset.test).mean()),
        "macs": complexity.profile(model).macs,
        "family": point.family,
        "arch": point.arch.model_dump(mode="json"),
        "settings": {
            **point.settings,
            "epochs": best[0].hyperparameters.values.get("tuner/epochs", epochs),
        },
    }


def _trained_on(
    model: keras.Model, networks: Networks, point: Candidate, seconds: float
) -> dict[str, Any]:
    """Train a network for as many epochs as fit by the seconds of its first; the best is kept."""
    began = time.monotonic()

    def fit(epochs: int, label: str) -> None:
        settings = Settings(**{**point.settings, "epochs": epochs})
        session = training.Session(label, deadline=began + seconds)
        training.fit(model, networks.dataset, settings, networks.seed, session)

    fit(1, "first")
    each = time.monotonic() - began
    epochs = int((seconds - each) / each)
    if epochs > 0:
        fit(epochs, "longer")
    return {"longer_epochs": epochs + 1, "longer_seconds": round(time.monotonic() - began, 1)}


def _tally(networks: Networks, trials: list[Any]) -> dict[str, Any]:
    completed = sum(trial.status == TrialStatus.COMPLETED for trial in trials)
    errors = {
        trial.message.strip().splitlines()[-1]
        for trial in trials
        if trial.message and "over the budget" not in trial.message
    }
    return {
        "trials": len(trials),
        "trained": networks.trained,
        "cut_short": completed - networks.trained,
        "refused": networks.refused,
        "failed": len(trials) - completed - networks.refused,
        "promoted": sum("tuner/trial_id" in trial.hyperparameters.values for trial in trials),
        "errors": sorted(errors),
    }


def main() -> None:
    """Read a job, run it, write its result."""
    source, target = (Path(name) for name in sys.argv[1:])
    job = json.loads(source.read_text(encoding="utf-8"))
    dataset = load(DataConfig(**job.pop("data")), job.pop("data_seed"))
    fields = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in job.pop("space").items()
    }
    directory = Path(job.pop("directory"))
    result = run(dataset=dataset, space=Space(**fields), directory=directory, **job)
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
