"""One file per deployment target; says whether, and how, a `.tflite` will run there."""

import importlib
import pkgutil
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.errors import RecipeError


@dataclass(frozen=True)
class Placement:
    """Where one operator runs."""

    index: int
    name: str
    placement: str
    reason: str | None


@dataclass(frozen=True)
class Verdict:
    """What a target makes of a model."""

    target: str
    runs: bool
    refused: str | None  # why the whole file is refused
    operators: tuple[Placement, ...]

    @property
    def mapped(self) -> int:
        """Operators that run on what the target is there for."""
        return sum(op.reason is None for op in self.operators)

    def as_json(self) -> dict[str, Any]:
        """The verdict as plain data."""
        return {**asdict(self), "mapped": self.mapped, "total": len(self.operators)}


def names() -> tuple[str, ...]:
    """Names of all targets, which are the names of the modules in this package."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def check(name: str, model: bytes) -> Verdict:
    """Ask target `name` about a `.tflite` file.

    Raises:
        RecipeError: there is no such target; names those there are.
        ModelError: the bytes are not a `.tflite` file.
    """
    if name not in names():
        raise RecipeError(f"unknown target. Received: {name!r}. Known: {', '.join(names())}")
    verdict: Verdict = importlib.import_module(f"pipeline.targets.{name}").check(model)
    return verdict
