"""What earlier commands have left in the directory of a run: finished stages, and time spent."""

import itertools
import json
import logging
from collections.abc import Mapping
from pathlib import Path

import pipeline
from pipeline import artifact
from pipeline.artifact import Artifact
from pipeline.data.datasets import Dataset
from pipeline.recipe import Recipe

MARK = "stage.json"  # the fingerprint that a stage's directory belongs to, finished or not
REPLACED = "replaced"
PARTS = ("*/*/result.json", "attempt-*/artifact.json")  # ended trials and attempts of a stage

log = logging.getLogger("flopsmith")


def expected(recipe: Recipe, dataset: Dataset) -> dict[str, str]:
    """The fingerprint of every stage, by the name of its directory."""
    prints = recipe.fingerprints(pipeline.__version__, dataset.fingerprint)
    names = (f"{place:02d}-{step.name}" for place, step in enumerate(recipe.stages, 1))
    return dict(zip(names, prints, strict=True))


def finished(directory: Path, code: str) -> Artifact | None:
    """The artifact of a stage, if it has finished with this fingerprint."""
    found = artifact.load(directory)
    return found if found and found.fingerprint == code else None


def seconds(out: Path, expected: Mapping[str, str]) -> float:
    """Seconds that stages have spent there: whole ones, and trials and attempts of another.

    Args:
        out: Directory of the run.
        expected: The fingerprint of every stage, by the name of its directory.
    """
    spent = 0.0
    for name, code in expected.items():
        if done := finished(out / name, code):
            spent += done.seconds
        elif owner(out / name) == code:
            parts = [path for pattern in PARTS for path in sorted((out / name).glob(pattern))]
            spent += sum(json.loads(path.read_text("utf-8"))["seconds"] for path in parts)
    return spent


def owner(directory: Path) -> str:
    """The fingerprint of the stage that works, or has worked, in a directory."""
    mark = directory / MARK
    found = json.loads(mark.read_text())["fingerprint"] if mark.exists() else "unknown"
    return str(found)


def put_aside(out: Path, expected: Mapping[str, str], fresh: bool) -> None:
    """Move stages with another fingerprint into `replaced/`; nothing is deleted.

    This happens before the first stage runs, so that a report cannot read stages of another recipe.
    """
    for directory in sorted(out.glob("[0-9]*-*")):
        if directory.name not in expected and not (directory / MARK).exists():
            continue  # not ours
        if fresh or owner(directory) != expected.get(directory.name):
            places = (out / REPLACED / f"{directory.name}-{n:03d}" for n in itertools.count())
            target = next(place for place in places if not place.exists())
            target.parent.mkdir(exist_ok=True)
            directory.rename(target)
            log.info(
                "%s: data, code or settings changed; the stage runs again, and its earlier files "
                "are in %s",
                *(directory.name, target),
            )
