"""The stage contract: what a module in `pipeline/stages/` offers, and what it is given.

A stage is one file; its name is the word that recipes use. It must define

    class Config(StageConfig)           its settings in a recipe
    def run(source, config, ctx)        does the work; see `Run`

and it may define

    def images(config, data, seed, budget, targets)   see `Images`
    def check(config, dataset, budget, targets)   see `Check`
    def ladder(config)                            see `MakeLadder`; makes it a stage that compresses
    def gauge(rungs, source, ctx)                 see `Gauge`
    def foresee(config, source, before)           see `Foresee`

`load` reads the module into a `Stage`, which has all of these, and refuses a module that defines
anything else in public. `run` writes into `ctx.directory` and returns `ctx.done(source, ...)`; the
loop in `pipeline.runner` then measures the model and writes `artifact.json`.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from pipeline import artifact
from pipeline.artifact import Artifact
from pipeline.budget import Budget
from pipeline.context import Context
from pipeline.data.datasets import DataConfig, Dataset
from pipeline.system import plugins

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
    # settings that say how long it works; with `minutes`, the time decides those that are not given
    timed: ClassVar[tuple[str, ...]] = ()

    def undoes(self) -> tuple[str, ...]:
        """Stages whose work this one would undo, with these settings, if it came after them."""
        return self.before

    def left_to_time(self) -> set[str]:
        """Settings that the time decides in a recipe with `minutes`: those not given."""
        return {*self.timed} - self.model_fields_set

    def model_paths(self) -> dict[str, str]:
        """The settings of type `ModelPath` that are given, by name."""
        given = {name: getattr(self, name) for name in artifact.model_settings(type(self))}
        return {name: value for name, value in given.items() if value is not None}


def never(held: Any, wanted: Any) -> bool:
    """Start every attempt from the input of the stage: `goes_on` of a ladder without one."""
    return False


@dataclass(frozen=True)
class Ladder:
    """The settings that a stage which compresses may run with, from mild to strong."""

    rungs: tuple[StageConfig, ...]
    start: int  # index of the rung that is tried first, unless `regains` says otherwise
    # whether an attempt with the second settings may start from one that holds with the first,
    # and not from the input of the stage
    goes_on: Callable[[Any, Any], bool] = never
    # share of the score above that of guessing, which is lost without training and mostly comes
    # back in training; None: the stage has no `gauge`, or these rungs no use for it
    regains: float | None = None
    vital: bool = False  # one epoch is trained even if no time is left for it


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


class Gauge(Protocol):
    """Score the network as each rung would leave it without training; cheap next to an attempt.

    The guardrail begins with the strongest rung that loses at most the share `Ladder.regains`.
    """

    def __call__(self, rungs: Sequence[Any], source: Artifact, ctx: Context) -> list[float]:
        """Measure the objective on val, or on some of its images, for every rung.

        Args:
            rungs: Settings, of the stage's own `Config`, from mild to strong.
            source: What the stage starts from.
            ctx: As for an attempt; its directory is that of the stage.
        """


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
    gauge: Gauge | None = None
    foresee: Foresee = _accept

    @property
    def fills_in(self) -> bool:
        """Whether the stage may decide in which form the pictures are decoded."""
        return self.images is not _as_asked


FUNCTIONS = {
    "run": Run,
    "images": Images,
    "check": Check,
    "ladder": MakeLadder,
    "gauge": Gauge,
    "foresee": Foresee,
}


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
