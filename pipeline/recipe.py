"""Read a recipe from YAML and check all of it; every error names the file and the key."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator

from pipeline import stage, targets
from pipeline.artifact import digest
from pipeline.budget import Budget
from pipeline.data.datasets import DataConfig
from pipeline.data.places import parse
from pipeline.details import Objective
from pipeline.errors import DataError, RecipeError
from pipeline.stage import StageConfig
from pipeline.system import assignments, numbers, schema, yaml_file
from pipeline.system.files import fingerprint

HERE = Path(__file__).parent
FOLDERS = (HERE.parent / "recipes", HERE / "_recipes")  # a checkout; an installed wheel


@dataclass(frozen=True)
class Step:
    """One entry of `stages:`."""

    name: str
    config: StageConfig


class Head(BaseModel):
    """Everything in a recipe but its stages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str = Field(description="One line for `flopsmith recipes`")
    data: DataConfig = Field(description="The images: a source, or a mapping with settings")
    seed: int = Field(default=0, ge=0, lt=2**31, description="Of everything random")
    budget: Budget = Field(default=Budget(), description="Upper bounds of the network")
    targets: tuple[str, ...] = Field(default=(), description="Where the model is to run")
    objective: Objective = Field(
        "accuracy", description="Score to maximize: accuracy, balanced_accuracy, macro_f1 or auc"
    )
    max_accuracy_drop: float = Field(
        0.01, ge=0, lt=1, description="What compression may cost of the objective on val, 0..1"
    )

    minutes: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Minutes that the whole run may take, which its stages share: what is not "
        "given of search.trials, search.epochs, finetune.epochs and patience is then as much as "
        "there is time for, and the same seed need not give the same network; none: no limit",
    )

    @field_validator("targets")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in targets.names():
                raise ValueError(f"unknown target {name!r}. Known: {', '.join(targets.names())}")
        return names


class Recipe(Head):
    """What to run, fully checked."""

    name: str
    stages: tuple[Step, ...]

    def to_yaml(self) -> str:
        """The resolved recipe; running that file repeats the run."""
        made = self.model_dump(mode="json", exclude={"name", "stages"})
        made["stages"] = [
            {step.name: step.config.model_dump(mode="json", exclude=self._open(step))}
            for step in self.stages
        ]
        return yaml_file.write(made)

    def _open(self, step: Step) -> set[str]:
        """The settings of a stage that are left to the time there is."""
        return set() if self.minutes is None else step.config.left_to_time()

    def fingerprints(self, code_version: str, content: str) -> list[str]:
        """One per stage, over the data, the seed, the code and every setting up to that stage."""
        shared = {"seed": self.seed, "budget": self.budget.model_dump(), "targets": self.targets}
        shared |= {} if self.objective == "accuracy" else {"objective": self.objective}
        shared |= {} if self.minutes is None else {"minutes": self.minutes}
        chain = fingerprint(code_version, content, shared)
        found = []
        for place, step in enumerate(self.stages):
            guard = self.share(place) and (self.max_accuracy_drop, self.share(place))
            read = [digest(source) for source in step.config.model_paths().values()]
            chain = fingerprint(chain, step.name, step.config.model_dump(mode="json"), guard, read)
            found.append(chain)
        return found

    def refuse_models_in(self, out: Path) -> None:
        """Refuse a model in the directory of the run: it may be moved away before it is read."""
        for step in self.stages:
            for key, given in step.config.model_paths().items():
                if Path(given).resolve().is_relative_to(out.resolve()):
                    raise RecipeError(
                        f"{step.name}.{key}: is in the directory of this run. Received: {given}. "
                        "Give another directory with --out"
                    )

    def share(self, place: int) -> float | None:
        """Fraction of the compressing stages that have run after this one; None: it is not one."""
        compress = [stage.load(step.name).ladder is not None for step in self.stages]
        return sum(compress[: place + 1]) / sum(compress) if compress[place] else None


def available() -> dict[str, Path]:
    """Recipes by name: those of the package, and those in `./recipes`."""
    folders = (*FOLDERS, Path("recipes"))
    return {p.stem: p for folder in folders for p in sorted(folder.glob("*.yaml"))}


def load(name: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe by name or path, with single values replaced.

    Args:
        name: A file under `recipes/` without its suffix, or a path to a YAML file.
        overrides: Values by dotted key, as `parse_overrides` reads them.

    Raises:
        RecipeError: the recipe does not exist or cannot be run; names the file and key.
    """
    path = find(name)
    raw, stem = _read(path), path.stem
    steps = _entries(raw.pop("stages", None), path)
    for key, value in (overrides or {}).items():
        _override(raw, steps, key, value)
    if overrides and overrides.get("minutes") is not None:
        steps = [(name, _untimed(name, given, overrides)) for name, given in steps]
    if overrides:  # a fault may lie in the command, not in the file
        given = " ".join(f"{key}={numbers.written(value)}" for key, value in overrides.items())
        path = Path(f"{path} with {given}")
    head = schema.checked(Head, raw, path, beside=("stages",))
    try:
        parse(head.data.source)
    except DataError as error:
        raise RecipeError(f"{path}: data: {error}") from error
    checked = _steps(steps, path)
    fields = {key: getattr(head, key) for key in Head.model_fields}
    return Recipe.model_construct(name=stem, stages=checked, **fields)


def _untimed(name: str, settings: Any, overrides: Mapping[str, Any]) -> Any:
    """Leave out how long a stage works by its file, where the command says how long a run takes."""
    if not isinstance(settings, dict):
        return settings
    timed = {key for key in stage.load(name).Config.timed if f"{name}.{key}" not in overrides}
    return {key: value for key, value in settings.items() if key not in timed}


def parse_overrides(text: str) -> dict[str, Any]:
    """Read `"a.b=1 c=2"`; values are YAML, and quotes are as in a shell.

    >>> parse_overrides("search.trials=40 budget.flops=8M search.families=[resnet, lenet]")
    {'search.trials': 40, 'budget.flops': '8M', 'search.families': ['resnet', 'lenet']}
    """
    try:
        return dict(assignments.read(text))
    except ValueError as error:
        raise RecipeError(f"cannot read a setting. Received: {error}") from error


def find(name: str) -> Path:
    """File of a recipe, by name or path.

    Raises:
        RecipeError: there is none; lists those there are.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path
    if name in (known := available()):
        return known[name]
    raise RecipeError(
        f"unknown recipe. Received: {name!r}. "
        f"Known: {', '.join(sorted(known))}; or give a path to a .yaml file"
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = yaml_file.read(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise RecipeError(f"{path}: not a recipe. Expected: a mapping with description, stages...")
    return raw


def _entries(steps: Any, path: Path) -> list[tuple[str, Any]]:
    """Read `stages:` as names and settings, the latter unchecked."""
    if not isinstance(steps, list) or not steps:
        raise RecipeError(f"{path}: stages: expected a list of stages. Received: {steps!r}")
    found = []
    for place, entry in enumerate(steps):
        entry = {entry: None} if isinstance(entry, str) else entry
        if not isinstance(entry, dict) or len(entry) != 1:
            raise RecipeError(
                f"{path}: stages.{place}: expected `name: settings`. Received: {entry!r}"
            )
        ((name, settings),) = entry.items()
        if name not in (known := stage.names()):
            hint = schema.close(str(name), known)
            raise RecipeError(f"{path}: stages.{place}: unknown stage {name!r}{hint}")
        found.append((name, {} if settings is None else settings))
    return found


def _override(raw: dict[str, Any], steps: list[tuple[str, Any]], key: str, value: Any) -> None:
    """Replace one value; the first word of a key may be the name of a stage."""
    first, *rest = key.split(".")
    chosen = [place for place, (name, _) in enumerate(steps) if name == first]
    if chosen and not rest:
        raise RecipeError(f"--set: {key!r} is a stage. Expected: {key}.SETTING=value")
    if not chosen and first not in Head.model_fields:
        known = sorted({*Head.model_fields, *(name for name, _ in steps)})
        raise RecipeError(f"--set: unknown key {first!r}{schema.close(first, known)}")
    for place in chosen:
        steps[place] = (first, _replaced(steps[place][1], rest, key, value))
    if not chosen:
        source = raw.get(first)
        if first == "data" and rest and isinstance(source, str):
            source = {"source": source}
        raw[first] = _replaced(source, rest, key, value)


def _replaced(old: Any, words: list[str], key: str, value: Any) -> Any:
    """`old` with the value at `words` replaced; the original stays as it is."""
    if not words:
        return value
    old = {} if old is None else old
    if not isinstance(old, dict):
        raise RecipeError(f"--set: {key!r} is not a setting: there is {old!r} where it would be")
    return {**old, words[0]: _replaced(old.get(words[0]), words[1:], key, value)}


def _steps(entries: list[tuple[str, Any]], path: Path) -> tuple[Step, ...]:
    checked: list[Step] = []
    model = "nothing"
    for place, (name, settings) in enumerate(entries):
        kind = stage.load(name).Config
        if model not in kind.needs and "nothing" not in kind.needs:
            raise RecipeError(
                f"{path}: stages.{place}.{name} needs {' or '.join(kind.needs)}, but gets "
                f"{model}. Put a stage before it that leaves one"
            )
        config = schema.checked(kind, settings, path, f"stages.{place}.{name}")
        for late in (step.name for step in checked if step.name in config.undoes()):
            way = f"Put {name} before {late}" if late in kind.before else f"Leave out {late}"
            raise RecipeError(f"{path}: stages.{place}.{name} would undo {late}. {way}")
        checked.append(Step(name, config))
        model = kind.leaves or model
    return tuple(checked)
