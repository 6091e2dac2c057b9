"""What MLflow is told of a run, and what becomes of a model that has learned nothing."""

from pathlib import Path

import keras
import pytest

import pipeline
from pipeline import recipe, recording
from pipeline.artifact import Artifact
from pipeline.data.datasets import Dataset
from pipeline.details import Details
from pipeline.tracking import registry
from pipeline.tracking.registry import Candidate


@pytest.mark.parametrize(("hits", "withheld"), [(23, True), (60, False)])
def test_a_model_that_only_guesses_does_not_become_the_champion(
    squares: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hits: int,
    withheld: bool,
) -> None:
    found: list[Candidate] = []
    monkeypatch.setattr(registry, "register", lambda made, _: found.append(made))
    guess = {"images": 100, "largest": 20, "needed": 31, "of": "val and test", "data": "squares"}
    details = Details(guessing={"hits": hits, **guess}) if withheld else Details()
    exported = Artifact(
        stage="export",
        fingerprint="",
        directory=tmp_path,
        deliverables=(registry.MODEL,),
        metrics={"test_accuracy": hits / 100},
        details=details,
    )
    recording.register(recipe.load("mobile"), squares, [exported], tmp_path, None)  # type: ignore[arg-type]
    said = found[0].withhold
    assert (said is not None) == withheld
    assert not withheld or "it classifies 23 of 100 val and test images correctly" in str(said)


def test_the_versions_of_what_made_a_run_are_known() -> None:
    found = recording.versions()
    assert found["version.keras"] == keras.__version__
    assert found["version.flopsmith"] == pipeline.__version__
