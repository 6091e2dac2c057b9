"""The stage contract: what a module in `pipeline/stages/` offers and what it is given.

    class Config(StageConfig)                                    its settings in a recipe
    def run(source: Artifact, config: Config, ctx: Context) -> Artifact
    def check(config, dataset, budget, targets) -> None          optional; is called before the
                                                                 first stage runs
    def ladder(config: Config) -> Ladder                         of a stage that compresses; `run`
                                                                 is called once or more, within
                                                                 `pipeline.guardrail`
    def foresee(config, source: Artifact, before) -> None        optional; is called before the
                                                                 first stage that compresses, with
                                                                 what it starts from and the names
                                                                 of the stages before this one

`run` writes into `ctx.directory` and returns `ctx.done(source, ...)`; the loop in
`pipeline.runner` measures the model it names and writes `artifact.json`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from pipeline import artifact
from pipeline.artifact import Artifact
from pipeline.budget import Budget
from pipeline.data.datasets import Dataset
from pipeline.system import plugins
from pipeline.system.files import write_atomic

STAGES = "pipeline.stages"
EXPORT = "export"  # the directory of a run's deliverables
Kind = Literal["nothing", "keras", "tflite"]


class StageConfig(BaseModel):
    """Settings of one stage; subclasses give each a default and a one-line description."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    needs: ClassVar[tuple[Kind, ...]] = ("keras",)  # models that `run` can start from
    leaves: ClassVar[Kind | None] = "keras"  # the model of its artifact; None: none of its own
    before: ClassVar[tuple[str, ...]] = ()  # stages that it would undo if it came after them

    def undoes(self) -> tuple[str, ...]:
        """Stages that it would undo, with these settings, if it came after them."""
        return self.before


@dataclass(frozen=True)
class Ladder:
    """The settings that a stage which compresses may run with, from mild to strong."""

    rungs: tuple[StageConfig, ...]
    start: int  # the rung that is tried first
    goes_on: bool = False  # whether a rung starts from the model of the milder one that held


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


@dataclass(frozen=True)
class Context:
    """What a stage is given besides its source and settings."""

    directory: Path  # of this stage; exists, may hold what an interrupted run left
    run_dir: Path  # of the whole run
    name: str  # of the stage: `prune`
    fingerprint: str
    data: Dataset
    seed: int
    budget: Budget
    targets: tuple[str, ...]
    title: str  # of the recipe; its description on a second line
    recipe_yaml: str  # the resolved recipe
    log: Log

    def earlier(self) -> list[Artifact]:
        """What the stages of the run before this one left, in order."""
        every = artifact.load_all(self.run_dir)
        return [one for one in every if one.directory.name < self.directory.name]

    def done(self, source: Artifact, **changes: Any) -> Artifact:
        """Build this stage's artifact: what `source` says of the network, with `changes`."""
        inherited = source.model_dump(include={"family", "arch", "settings"})
        return Artifact(
            stage=self.name,
            fingerprint=self.fingerprint,
            parent=source.directory.name if source.fingerprint else None,
            directory=self.directory,
            **{**inherited, **changes},
        )

    def save_keras(self, model: Any, source: Artifact, **changes: Any) -> Artifact:
        """Save a Keras model as this stage's and build the artifact."""
        model.save(self.directory / "model.keras")
        return self.done(source, model_file="model.keras", **changes)

    def save_tflite(self, content: bytes, source: Artifact, **changes: Any) -> Artifact:
        """Save a `.tflite` as this stage's model and build the artifact."""
        write_atomic(self.directory / "model.tflite", content)
        return self.done(source, model_file="model.tflite", **changes)

    def curve(self, epoch: int, point: Mapping[str, float]) -> None:
        """Record one epoch of the learning curves."""
        self.log.metrics(point, step=epoch)


def names() -> tuple[str, ...]:
    """Names of all stages, which are the names of the modules in `pipeline/stages/`."""
    return plugins.names(STAGES)


def load(name: str) -> ModuleType:
    """Import one stage.

    Raises:
        RecipeError: there is no such stage; names those there are.
    """
    return plugins.load(STAGES, name, "stage")
