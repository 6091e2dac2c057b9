"""The stage contract: what a module in `pipeline/stages/` offers, and what it is given.

A stage is one file; its name is the word that recipes use. It must define

    class Config(StageConfig)           its settings in a recipe
    def run(source, config, ctx)        does the work; see `Run`

and it may define

    def images(config, data, seed, budget, targets)   see `Images`
    def check(config, dataset, budget, targets)   see `Check`
    def ladder(config)                            see `MakeLadder`; makes it a stage that compresses
    def foresee(config, source, before)           see `Foresee`

`load` reads the module into a `Stage`, which has all of these, and refuses a module that defines
anything else in public. `run` writes into `ctx.directory` and returns `ctx.done(source, ...)`; the
loop in `pipeline.runner` then measures the model and writes `artifact.json`.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal, Protocol, TypedDict, Unpack

from pydantic import BaseModel, ConfigDict

from pipeline import artifact, model_path
from pipeline.artifact import Artifact
from pipeline.budget import Budget
from pipeline.data.datasets import DataConfig, Dataset
from pipeline.details import Details
from pipeline.system import plugins
from pipeline.system.files import write_atomic

STAGES = "pipeline.stages"
EXPORT = "export"  # the directory of a run's deliverables
Kind = Literal["nothing", "keras", "tflite"]
Structure = Literal["zeros", "clusters"]


class StageConfig(BaseModel):
    """Settings of one stage; subclasses give each a default and a one-line description."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    needs: ClassVar[tuple[Kind, ...]] = ("keras",)  # models that `run` can start from
    leaves: ClassVar[Kind | None] = "keras"  # the model of its artifact; None: none of its own
    before: ClassVar[tuple[str, ...]] = ()  # stages whose work it would undo if it came after them
    # what it makes of kernels that later stages must keep; `pipeline.measure.ledger` checks it
    protects: ClassVar[Structure | None] = None

    def undoes(self) -> tuple[str, ...]:
        """Stages whose work this one would undo, with these settings, if it came after them."""
        return self.before

    def model_paths(self) -> dict[str, str]:
        """The settings of type `ModelPath` that are given, by name."""
        given = {name: getattr(self, name) for name in model_path.settings(type(self))}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Ladder:
    """The settings that a stage which compresses may run with, from mild to strong."""

    rungs: tuple[StageConfig, ...]
    start: int  # index of the rung that is tried first
    # whether each attempt continues from the model of the last accepted one, not from the input
    goes_on: bool = False


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
        model.save(self.directory / "model.keras")
        return self.done(source, model_file="model.keras", **changes)  # type: ignore[misc]

    def save_tflite(self, content: bytes, source: Artifact, **changes: Unpack[Changes]) -> Artifact:
        """Save a `.tflite` as this stage's model and build the artifact, as `done` does."""
        write_atomic(self.directory / "model.tflite", content)
        return self.done(source, model_file="model.tflite", **changes)  # type: ignore[misc]

    def curve(self, epoch: int, point: Mapping[str, float]) -> None:
        """Record one epoch of the learning curves."""
        self.log.metrics(point, step=epoch)


class Run(Protocol):
    """Run the stage: required of every one."""

    def __call__(self, source: Artifact, config: Any, ctx: Context) -> Artifact:
        """Make the stage's files in `ctx.directory` and return its artifact.

        Args:
            source: The last artifact with a model; before the first one, it has none.
            config: Settings, of the stage's own `Config`.
            ctx: Everything else.
        """


class Images(Protocol):
    """Say in which form the pictures are to be decoded, before any of them is.

    A stage that starts from a network which was trained before knows its own input; a search knows
    at which size of images its networks keep the budget.
    """

    def __call__(
        self,
        config: Any,
        data: DataConfig,
        seed: int,
        budget: Budget,
        targets: tuple[str, ...],
    ) -> DataConfig:
        """Fill in what the user has left open; raise a `PipelineError` if nothing fits.

        Args:
            config: Settings, of the stage's own `Config`.
            data: The `data:` section of the recipe, as earlier stages have filled it in.
            seed: Of the recipe; decides which images are val images.
            budget: Of the recipe.
            targets: Of the recipe.
        """


class Check(Protocol):
    """Refuse settings that cannot work, before the first stage of the run starts."""

    def __call__(
        self, config: Any, dataset: Dataset, budget: Budget, targets: tuple[str, ...]
    ) -> None:
        """Raise a `PipelineError` if the stage could not run on this data, in this budget."""


class MakeLadder(Protocol):
    """Say how much milder a stage that compresses may run if accuracy falls too far.

    Having one makes it a stage that compresses: `pipeline.guardrail` calls `run` once or more.
    """

    def __call__(self, config: Any) -> Ladder:
        """List the settings to try for what the recipe asks for."""


class Foresee(Protocol):
    """Refuse a network that this stage cannot process, before any stage compresses it."""

    def __call__(self, config: Any, source: Artifact, before: Sequence[str]) -> None:
        """Raise a `ModelError` if the stage could not process this network.

        Args:
            config: Settings, of the stage's own `Config`.
            source: The artifact that the first compressing stage starts from.
            before: Names of the stages before this one.
        """


def _accept(*_: Any, **__: Any) -> None:
    """Refuse nothing: `check` and `foresee` of a stage that does not define them."""


def _as_asked(
    config: Any, data: DataConfig, seed: int, budget: Budget, targets: tuple[str, ...]
) -> DataConfig:
    """Leave the form of the pictures to the user: `images` of a stage that does not define it."""
    return data


@dataclass(frozen=True)
class Stage:
    """What one module in `pipeline/stages/` offers."""

    name: str
    Config: type[StageConfig]
    run: Run
    images: Images = _as_asked
    check: Check = _accept
    ladder: MakeLadder | None = None  # None: the stage does not compress
    foresee: Foresee = _accept

    @property
    def fills_in(self) -> bool:
        """Whether the stage may decide in which form the pictures are decoded."""
        return self.images is not _as_asked


FUNCTIONS = {"run": Run, "images": Images, "check": Check, "ladder": MakeLadder, "foresee": Foresee}


def names() -> tuple[str, ...]:
    """Names of all stages, which are the names of the modules in `pipeline/stages/`."""
    return plugins.names(STAGES)


def load(name: str) -> Stage:
    """Import one stage.

    Raises:
        RecipeError: there is no such stage; names those there are.
        TypeError: the module does not keep the contract; says what is wrong.
    """
    return read(plugins.load(STAGES, name, "stage"))


def read(module: ModuleType) -> Stage:
    """Take from a module what the contract names.

    Raises:
        TypeError: the module does not keep the contract; says what is wrong.
    """
    name = module.__name__.rpartition(".")[2]
    config = vars(module).get("Config")
    if not (inspect.isclass(config) and issubclass(config, StageConfig)):
        raise TypeError(f"stage {name} has no `class Config(StageConfig)`. Received: {config!r}")
    own = {
        key: value
        for key, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and key[0] != "_"
    }
    if unknown := [key for key in own if key not in FUNCTIONS]:
        raise TypeError(
            f"stage {name} defines a function that nothing calls. Received: {unknown[0]}. "
            f"Known: {', '.join(FUNCTIONS)}. Rename it, or begin its name with _"
        )
    if "run" not in vars(module):
        raise TypeError(f"stage {name} has no function `run`. Add it")
    found = {key: vars(module)[key] for key in FUNCTIONS if key in vars(module)}
    for key, function in found.items():
        expected = [*inspect.signature(FUNCTIONS[key].__call__).parameters][1:]
        received = [*inspect.signature(function).parameters]
        if received != expected:
            raise TypeError(
                f"stage {name}: `{key}` takes other parameters than the contract says. "
                f"Received: ({', '.join(received)}). Expected: ({', '.join(expected)})"
            )
    return Stage(name, config, **found)
