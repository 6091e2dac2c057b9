"""Whole recipes, as the command line runs them: stages in order, results in a directory, MLflow."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import recipe
from pipeline.artifact import Artifact
from pipeline.stage import EXPORT


class Recipe(recipe.Recipe):
    """What to run, fully checked.

    Example:
        >>> mine = Recipe.load("mobile", {"budget.flops": "8M", "search.trials": 40})
        >>> mine.budget.flops
        8000000
    """

    @classmethod
    def load(cls, name: str | Path, overrides: Mapping[str, Any] | None = None) -> "Recipe":
        """Read a recipe.

        Args:
            name: A name that `flopsmith recipes` lists, or the path of a `.yaml` file.
            overrides: Values that replace those of the file, by dotted key.

        Raises:
            RecipeError: There is no such recipe, or it cannot be run; names the file and key.
        """
        found = recipe.load(str(name), overrides)
        fields = {key: getattr(found, key) for key in recipe.Recipe.model_fields}
        return cls.model_construct(**fields)


@dataclass(frozen=True)
class Results:
    """What a run leaves: one artifact per stage, and files to hand over."""

    directory: Path
    artifacts: tuple[Artifact, ...]

    @property
    def metrics(self) -> dict[str, float]:
        """Numbers of the last model: accuracies, size, latency and more."""
        return next((made.metrics for made in reversed(self.artifacts) if made.model_file), {})

    @property
    def files(self) -> tuple[Path, ...]:
        """The files to hand over, which are in `directory/export`."""
        return tuple(sorted((self.directory / EXPORT).glob("*")))


def run(
    recipe: str | Path | Recipe,
    *,
    data: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    fresh: bool = False,
) -> Results:
    """Run a recipe, or resume a run of it that was interrupted.

    Args:
        recipe: A name, a path, or what `Recipe.load` returned.
        data: Images to use instead of the recipe's, as in `"folder:photos"`.
        overrides: Values that replace those of the recipe, by dotted key.
        out: Directory for the results; None: `runs/NAME`.
        fresh: Run every stage again; earlier results are moved to `replaced/`.

    Returns:
        The results, which are also in the directory and in MLflow.

    Raises:
        PipelineError: Something that can be put right; the message says how.

    Example:
        >>> results = run("smoke", overrides={"search.trials": 1})  # doctest: +SKIP
        >>> results.metrics["test_accuracy"]  # doctest: +SKIP
        0.91
    """
    from pipeline import runner
    from pipeline.errors import RecipeError

    changes = {**(overrides or {}), **({} if data is None else {"data.source": data})}
    if isinstance(recipe, Recipe) and changes:
        raise RecipeError(
            f"a loaded recipe takes no changes. Received: {', '.join(changes)}. Give them to "
            "Recipe.load"
        )
    loaded = recipe if isinstance(recipe, Recipe) else Recipe.load(recipe, changes)
    directory = Path(out or f"runs/{loaded.name}")
    artifacts, _ = runner.run(loaded, directory, fresh)
    return Results(directory, tuple(artifacts))
