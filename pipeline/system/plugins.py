"""Look up a module by the word that a user types: the file name is the key.

Stages, commands, targets, oracles, data sources and families are modules of a package each. Adding
one is adding a file (or a folder of that name); nothing is registered.
"""

import importlib
import pkgutil
from collections.abc import Collection
from types import ModuleType

from pipeline.errors import RecipeError


def names(package: str, leave_out: Collection[str] = ()) -> tuple[str, ...]:
    """Names of the modules of a package, sorted; none of them is imported.

    Args:
        package: Dotted name of the package: `pipeline.stages`.
        leave_out: Modules of the package that are not plugins, such as a shared base class.
    """
    place = importlib.import_module(package).__path__
    found = (module.name for module in pkgutil.iter_modules(place))
    return tuple(sorted(name for name in found if name not in leave_out))


def load(package: str, name: str, kind: str, leave_out: Collection[str] = ()) -> ModuleType:
    """Import one module of a package.

    Args:
        package: Dotted name of the package: `pipeline.stages`.
        name: Of the module, as a user typed it.
        kind: What an error calls it: "stage".
        leave_out: As for `names`.

    Raises:
        RecipeError: There is no such module; lists the known ones.
    """
    known = names(package, leave_out)
    if name not in known:
        raise RecipeError(f"unknown {kind}. Received: {name!r}. Known: {', '.join(known)}")
    return importlib.import_module(f"{package}.{name}")
