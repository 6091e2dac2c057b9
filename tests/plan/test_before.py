"""What earlier commands have left: finished stages, the time that they took, stages of others."""

import json
from pathlib import Path

import pytest

from pipeline.artifact import Artifact
from pipeline.plan import before


def stage(out: Path, name: str, code: str, seconds: float | None) -> Path:
    """The directory of a stage that has finished, or with None for the seconds, has not."""
    directory = out / name
    directory.mkdir(parents=True)
    (directory / before.MARK).write_text(json.dumps({"fingerprint": code}))
    if seconds is not None:
        Artifact(stage=name, fingerprint=code, directory=directory, seconds=seconds).save()
    return directory


def test_finished_stages_and_the_parts_of_another_are_counted(tmp_path: Path) -> None:
    stage(tmp_path, "01-search", "a", 60.0)
    prune = stage(tmp_path, "02-prune", "b", None)
    (prune / "attempt-2").mkdir()
    Artifact(stage="prune", fingerprint="x", directory=prune / "attempt-2", seconds=20.0).save()
    stage(tmp_path, "03-export", "old", 7.0)
    expected = {"01-search": "a", "02-prune": "b", "03-export": "c", "04-report": "d"}
    assert before.seconds(tmp_path, expected) == 80.0


def test_trials_of_a_search_that_was_interrupted_are_counted(tmp_path: Path) -> None:
    search = stage(tmp_path, "01-search", "a", None)
    for number in range(3):
        place = search / "trials" / f"trial_{number:04d}"
        place.mkdir(parents=True)
        if number:
            (place / "result.json").write_text(json.dumps({"seconds": 10.0}))
    assert before.seconds(tmp_path, {"01-search": "a"}) == 20.0
    assert before.seconds(tmp_path, {"01-search": "b"}) == 0.0


def test_what_belongs_to_other_settings_is_moved_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage(tmp_path, "01-search", "a", 1.0)
    stage(tmp_path, "02-prune", "b", 1.0)
    (tmp_path / "03-notes").mkdir()
    with caplog.at_level("INFO", "flopsmith"):
        before.put_aside(tmp_path, {"01-search": "a", "02-prune": "c"}, fresh=False)
    assert before.finished(tmp_path / "01-search", "a") is not None
    assert not (tmp_path / "02-prune").exists()
    assert (tmp_path / "replaced" / "02-prune-000").is_dir()
    assert (tmp_path / "03-notes").is_dir()
    assert "02-prune: data, code or settings changed" in caplog.text
