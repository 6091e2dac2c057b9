"""One file per method; see `pipeline.explain`."""

from types import ModuleType

from pipeline.system import plugins


def names() -> tuple[str, ...]:
    """Names of all methods, which are the names of the modules in this package."""
    return plugins.names(__name__)


def load(name: str) -> ModuleType:
    """Import one method.

    Raises:
        RecipeError: there is no such method; names those there are.
    """
    return plugins.load(__name__, name, "method")
