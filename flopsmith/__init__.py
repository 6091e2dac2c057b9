"""flopsmith in Python: find, make smaller and check image classifiers, one call each.

    import flopsmith

    data = flopsmith.load_data("folder:photos")
    smaller = flopsmith.prune(model, data, sparsity=0.7)
    int8 = flopsmith.quantize(smaller, data)
    int8.save("model.tflite")

`run` and `Recipe` run a whole recipe, as the command line does. All other functions take a
`keras.Model` or the path of a file, and need neither a recipe, a directory of results nor MLflow.
The page `docs/python.md` shows them all. Importing this package is quick: TensorFlow is loaded by
the first function that needs it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flopsmith.architectures import search
    from flopsmith.compression import cluster, compress, prune, quantize
    from flopsmith.images import load_data
    from flopsmith.inspection import bench, check, profile
    from flopsmith.recipes import Recipe, run

__all__ = [
    "Recipe",
    "bench",
    "check",
    "cluster",
    "compress",
    "load_data",
    "profile",
    "prune",
    "quantize",
    "run",
    "search",
]
HOMES = {
    "architectures": ("search",),
    "compression": ("cluster", "compress", "prune", "quantize"),
    "images": ("load_data",),
    "inspection": ("bench", "check", "profile"),
    "recipes": ("Recipe", "run"),
}


def __getattr__(name: str) -> Any:
    for module, names in HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"flopsmith.{module}"), name)
    raise AttributeError(f"module 'flopsmith' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
