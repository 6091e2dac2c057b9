"""What a stage is given besides its source artifact and its settings, and where it records."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypedDict, Unpack

from pipeline import artifact
from pipeline.artifact import Artifact
from pipeline.budget import Budget
from pipeline.data.datasets import DataConfig, Dataset
from pipeline.details import Details, Objective
from pipeline.objective import Goal
from pipeline.system.files import write_atomic


class Log(Protocol):
    """Where a stage records what it does; `pipeline.tracking.runs` writes it to MLflow."""

    def params(self, values: Mapping[str, Any]) -> None:
        """Record settings."""

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Record numbers, final ones or, with a step, points of a curve."""

    def file(self, path: Path, folder: str | None = None) -> None:
        """Keep a copy of a file."""

    def trial(self, row: Mapping[str, Any]) -> None:
        """Record one trial of a search, as a nested run."""


class Changes(TypedDict, total=False):
    """Fields of an artifact that a stage sets; `pipeline.artifact.Artifact` explains them."""

    model_file: str
    family: str | None
    arch: dict[str, Any] | None
    settings: dict[str, Any]
    metrics: dict[str, float]
    details: Details
    deliverables: tuple[str, ...]


@dataclass(frozen=True)
class Attempt:
    """One run of a stage within the guardrail, which may be one of several."""

    origin: Artifact  # the input of the stage; `source` may be an earlier attempt, to go on from
    shared: Path  # directory of the stage, for what all of its attempts read
    goal: Goal  # the objective on val that has to be kept


@dataclass(frozen=True)
class Context:
    """Everything that a stage may use besides its source artifact and its settings.

    It has the data and bounds of the recipe, and the directory that belongs to the stage; its
    methods save a model there and build the artifact that `run` returns.
    """

    directory: Path  # for the files of this stage; may hold some of a run that was interrupted
    run_dir: Path  # the directory of the whole run, `directory` among others
    name: str  # of the stage: "prune"
    fingerprint: str  # of this stage; goes into its artifact
    data: Dataset
    seed: int
    budget: Budget
    targets: tuple[str, ...]  # names of the deployment targets in the recipe
    recipe_name: str
    description: str  # that of the recipe
    recipe_yaml: str  # the recipe with every default and override filled in
    log: Log
    pictures: DataConfig | None = None  # what `data` was read as; None: images in memory
    objective: Objective = "accuracy"  # the score that choices on val go by
    until: float | None = None  # `time.monotonic()` by which the stage should end; None: no limit
    attempt: Attempt | None = None  # None: the stage runs without the guardrail
    then: str | None = None  # name of the next stage; None: this one is the last

    def origin(self, source: Artifact) -> Artifact:
        """The input of the stage, where `source` may be an attempt that this one goes on from."""
        return self.attempt.origin if self.attempt else source

    @property
    def shared(self) -> Path | None:
        """The directory for what several attempts read; None without the guardrail."""
        return self.attempt.shared if self.attempt else None

    @property
    def goal(self) -> Goal | None:
        """The objective on val that has to be kept; None without the guardrail."""
        return self.attempt.goal if self.attempt else None

    def earlier(self) -> list[Artifact]:
        """The artifacts of the stages of the run before this one, in order."""
        every = artifact.load_all(self.run_dir)
        return [one for one in every if one.directory.name < self.directory.name]

    def done(self, source: Artifact, **changes: Unpack[Changes]) -> Artifact:
        """Build this stage's artifact.

        Args:
            source: What the stage started from; its family, arch and settings are taken over.
            changes: Other values for these, and everything else that the artifact says.
        """
        fields: dict[str, Any] = {
            "family": source.family,
            "arch": source.arch,
            "settings": source.settings,
            **changes,
        }
        return Artifact(
            stage=self.name,
            fingerprint=self.fingerprint,
            parent=source.directory.name if source.fingerprint else None,
            directory=self.directory,
            **fields,
        )

    def save_keras(self, model: Any, source: Artifact, **changes: Unpack[Changes]) -> Artifact:
        """Save a Keras model as this stage's and build the artifact, as `done` does."""
        from pipeline.graph import keras_file  # it imports Keras, which takes seconds

        keras_file.save(model, self.directory / "model.keras")
        return self.done(source, model_file="model.keras", **changes)  # type: ignore[misc]

    def save_tflite(self, content: bytes, source: Artifact, **changes: Unpack[Changes]) -> Artifact:
        """Save a `.tflite` as this stage's model and build the artifact, as `done` does."""
        write_atomic(self.directory / "model.tflite", content)
        return self.done(source, model_file="model.tflite", **changes)  # type: ignore[misc]

    def curve(self, epoch: int, point: Mapping[str, float]) -> None:
        """Record one epoch of the learning curves."""
        self.log.metrics(point, step=epoch)
