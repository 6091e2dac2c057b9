"""The form of the pictures in a run: what the recipe leaves open, its stages fill in.

It is found out before the data are read, and remembered in the directory of the run, so that a run
that is resumed does not measure it again.
"""

import json
from pathlib import Path

from pydantic import ValidationError

import pipeline
from pipeline import stage
from pipeline.artifact import digest
from pipeline.data.datasets import DataConfig
from pipeline.recipe import Recipe
from pipeline.system.files import fingerprint, write_atomic

FILE = "data.json"


def resolved(recipe: Recipe, out: Path, fresh: bool = False) -> Recipe:
    """The recipe with the form of its pictures filled in.

    Args:
        recipe: As it was read.
        out: Directory of the run.
        fresh: Find it out again, whatever is remembered there.
    """
    data = None if fresh else _remembered(recipe, out)
    if data is None:
        data = recipe.data
        for step in recipe.stages:
            fill = stage.load(step.name).images
            data = fill(step.config, data, recipe.seed, recipe.budget, recipe.targets)
    return recipe.model_copy(update={"data": data})


def remember(recipe: Recipe, found: Recipe, out: Path) -> None:
    """Write down what was filled in, if anything was."""
    if found.data != recipe.data:
        note = {"asked": _asked(recipe), "data": found.data.model_dump(mode="json")}
        write_atomic(out / FILE, json.dumps(note, indent=1) + "\n")


def _remembered(recipe: Recipe, out: Path) -> DataConfig | None:
    try:
        note = json.loads((out / FILE).read_text(encoding="utf-8"))
        return DataConfig(**note["data"]) if note["asked"] == _asked(recipe) else None
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None  # there is none, or one of another version


def _asked(recipe: Recipe) -> str:
    """What decides the form: the data, the seed, the code, the bounds, and stages with a say."""
    steps = [
        (
            step.name,
            step.config.model_dump(mode="json"),
            [digest(path) for path in step.config.model_paths().values()],
        )
        for step in recipe.stages
        if stage.load(step.name).fills_in
    ]
    given = recipe.model_dump(mode="json", include={"seed", "data", "budget", "targets"})
    return fingerprint(pipeline.__version__, given, steps)
