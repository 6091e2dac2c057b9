"""What MLflow is told of a run: tags and numbers of its stages, its files, its model."""

from importlib.metadata import version
from pathlib import Path

import pipeline
from pipeline.artifact import FILE, Artifact
from pipeline.data import datasets
from pipeline.recipe import Recipe, Step
from pipeline.report import guessing, verdict
from pipeline.report.headline import headline
from pipeline.stage import EXPORT
from pipeline.tracking import registry, runs

PACKAGES = ("keras", "tensorflow", "keras-tuner", "ai-edge-litert")


def versions() -> dict[str, str]:
    """What the run was made with: tags `version.keras` and others."""
    found = {f"version.{name}": version(name) for name in PACKAGES}
    return {"version.flopsmith": pipeline.__version__, **found}


def profile(dataset: datasets.Dataset) -> dict[str, int]:
    """Numbers of images and classes, for MLflow."""
    parts = {name: len(getattr(dataset, name)) for name in ("train", "val", "test")}
    return {"num_rows": sum(parts.values()), "classes": dataset.num_classes, **parts}


def tags(recipe: Recipe, step: Step, resumed: str) -> dict[str, str]:
    """What tells the run of a stage from others in MLflow."""
    return {"stage": step.name, "recipe": recipe.name, "resumed": resumed}


def conclude(done: Artifact, nested: runs.Run) -> None:
    """Say in MLflow what a stage has come to: the family, the winner, all that it hands on."""
    nested.file(done.directory / FILE)
    if done.family:
        nested.tags({"family": done.family})
    if done.details.winner:
        nested.won(done.details.winner)


def tell(recipe: Recipe, step: Step, done: Artifact, parent: runs.Run, name: str) -> None:
    """Record a stage that an earlier command has finished, and MLflow has not recorded."""
    with parent.child(name, tags(recipe, step, "true")) as nested:
        nested.params(step.config.model_dump(mode="json"))
        for row in done.details.trials:
            nested.trial(row)
        if nested.is_new and done.details.history:
            nested.curves(done.details.history)
        nested.metrics({**done.metrics, "seconds": done.seconds})
        conclude(done, nested)


def summarize(finished: list[Artifact], out: Path, parent: runs.Run) -> None:
    """Give the parent run the final numbers and the deliverables."""
    if last := next((a for a in reversed(finished) if a.model_file), None):
        parent.metrics(last.metrics)
        parent.params({"family": last.family, "arch": last.arch or {}})
        parent.tags({"stage": "recipe", **({"family": last.family} if last.family else {})})
        parent.describe(f"**{headline(finished)}**\n\n{verdict.verdict(finished)}")
    for path in sorted((out / EXPORT).glob("*")):
        parent.file(path, EXPORT)


def register(
    recipe: Recipe,
    dataset: datasets.Dataset,
    finished: list[Artifact],
    out: Path,
    parent: runs.Run,
) -> None:
    """Register the exported model, if there is one, so that MLflow can serve it."""
    made = next((a for a in reversed(finished) if registry.MODEL in a.deliverables), None)
    if made is None:
        return
    candidate = registry.Candidate(
        recipe=recipe.name,
        export=out / EXPORT,
        example=dataset.test.images[dataset.test.index[0]],
        accuracy=made.metrics["test_accuracy"],
        objective=recipe.objective,
        scores={row["score"]: row["value"] for row in made.details.scores},
        numbers=made.metrics,
        source=dataset.name,
        split=dataset.fingerprint,
        tags={"data": dataset.name, "seed": str(recipe.seed)},
        data=short(dataset.name),
        withhold=guessing.told(made.details.guessing) if made.details.guessing else None,
    )
    registry.register(candidate, parent)


def short(source: str) -> str | None:
    """What a data set is called in the registry; None: the built-in images.

    >>> [short(one) for one in ("digits", "folder:my/photos/", "npz:a/b.npz", "tfds:mnist:3.0.1")]
    [None, 'photos', 'b', 'mnist']
    """
    kind, _, rest = source.partition(":")
    if kind in ("folder", "npz"):
        path = Path(rest).resolve()
        return path.stem if kind == "npz" else path.name
    return rest.partition(":")[0].partition("/")[0] or None
