"""WHAT can be found: one file per architecture family."""

import importlib
import pkgutil
from types import ModuleType

from pipeline.errors import RecipeError

# Modules that the families share.
SHARED = ("base", "blocks", "choices", "layers", "published", "tracing")


def families() -> tuple[str, ...]:
    """Names of all families, which are the names of the modules beside this one."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in names if name not in SHARED))


def family(name: str) -> ModuleType:
    """Import one family.

    Raises:
        RecipeError: there is no such family; names those there are.
    """
    if name not in families():
        known = ", ".join(families())
        raise RecipeError(f"unknown family. Received: {name!r}. Known: {known}")
    return importlib.import_module(f"search_spaces.{name}")
