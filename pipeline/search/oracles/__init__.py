"""What proposes the next trial: one oracle of keras-tuner per file, the file name is its key."""

import importlib
import pkgutil
from typing import Any


def names() -> tuple[str, ...]:
    """Names of all oracles."""
    return tuple(sorted({m.name for m in pkgutil.iter_modules(__path__)} - {"base"}))


def load(name: str) -> Any:
    """The class `Oracle` of a module; see `base.BudgetOracle` for what it is given."""
    return importlib.import_module(f"{__name__}.{name}").Oracle
