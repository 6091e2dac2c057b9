"""Artifacts: written whole or not at all, and read back as they were."""

import math
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.artifact import FILE, Artifact, load, load_all
from pipeline.system.files import fingerprint, write_atomic


@pytest.fixture
def made(tmp_path: Path) -> Artifact:
    directory = tmp_path / "01-search"
    return Artifact(
        stage="search",
        fingerprint="0123456789abcdef",
        parent="00-nothing",
        model_file="model.keras",
        family="mobilenet",
        arch={"width": 0.5, "groups": [{"depth": 1}]},
        settings={"optimizer": "adam"},
        metrics={"val_accuracy": 0.5},
        details={"trials": []},
        seconds=1.5,
        directory=directory,
    )


def test_an_artifact_is_read_back_as_it_was_saved(made: Artifact) -> None:
    made.save()
    assert load(made.directory) == made


def test_a_directory_that_was_moved_is_read_at_its_new_place(made: Artifact) -> None:
    made.save()
    moved = made.directory.rename(made.directory.parent / "02-search")
    found = load(moved)
    assert found is not None
    assert found.model_path == moved / "model.keras"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_not_finite_survives(made: Artifact, value: float) -> None:
    made.model_copy(update={"metrics": {"val_accuracy": value}}).save()
    found = load(made.directory)
    assert found is not None
    assert str(found.metrics["val_accuracy"]) == str(value)


def test_a_stage_without_a_model_has_no_model_path(made: Artifact) -> None:
    assert made.model_copy(update={"model_file": None}).model_path is None


def test_an_artifact_cannot_be_changed(made: Artifact) -> None:
    with pytest.raises(ValidationError):
        made.stage = "prune"  # type: ignore[misc]


# load


def test_a_directory_without_an_artifact_has_not_finished(tmp_path: Path) -> None:
    assert load(tmp_path) is None


def test_a_directory_that_is_not_there_has_not_finished(tmp_path: Path) -> None:
    assert load(tmp_path / "01-search") is None


def test_a_file_where_the_directory_should_be_has_not_finished(tmp_path: Path) -> None:
    (tmp_path / "01-search").write_text("in the way")
    assert load(tmp_path / "01-search") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"stage": "search", "finge',
        "{}",
        '{"stage": "search", "fingerprint": "0", "extra": 1}',
        "[]",
        "null",
        '"search"',
    ],
)
def test_a_corrupt_artifact_has_not_finished_and_the_log_says_so_in_a_line(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_text(text)
    assert load(tmp_path) is None
    (said,) = caplog.messages
    assert str(tmp_path / FILE) in said
    assert "\n" not in said


def test_an_artifact_of_broken_bytes_has_not_finished(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\xff\xfe\x00")
    assert load(tmp_path) is None


def test_stages_are_listed_in_the_order_of_their_numbers(made: Artifact, tmp_path: Path) -> None:
    places = [10, 2, 1, 11, 9, 100]
    for place in places:
        made.model_copy(update={"directory": tmp_path / f"{place:02d}-prune"}).save()
    numbers = [int(found.directory.name.split("-")[0]) for found in load_all(tmp_path)]
    assert numbers == sorted(places)


def test_stages_that_did_not_finish_are_not_listed(made: Artifact, tmp_path: Path) -> None:
    made.save()
    (tmp_path / "02-finetune").mkdir()
    (tmp_path / "03-prune").mkdir()
    (tmp_path / "03-prune" / FILE).write_text('{"stage"')
    assert load_all(tmp_path) == [made]


def test_a_directory_that_is_no_stage_is_not_listed(made: Artifact, tmp_path: Path) -> None:
    made.model_copy(update={"directory": tmp_path / "replaced"}).save()
    assert load_all(tmp_path) == []


# write_atomic


@pytest.mark.parametrize("content", ["new", b"new"])
def test_a_file_is_written_with_its_directories(tmp_path: Path, content: str | bytes) -> None:
    write_atomic(tmp_path / "a" / "b" / "c.txt", content)
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "new"


def fail(*_: object, **__: object) -> None:
    raise OSError("the disk is full")


@pytest.fixture(params=["os.fsync", "Path.replace"])
def full_disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "os.fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)


@pytest.mark.usefixtures("full_disk")
def test_a_write_that_fails_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk is full"):
        write_atomic(tmp_path / FILE, "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("full_disk")
def test_a_write_that_fails_leaves_the_earlier_file_whole(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("old")
    with pytest.raises(OSError, match="disk is full"):
        write_atomic(tmp_path / FILE, "new")
    assert (tmp_path / FILE).read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / FILE]


def test_an_artifact_appears_only_once_it_is_whole(
    made: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(file: int) -> None:
        assert not (made.directory / FILE).exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", kill)
    with pytest.raises(KeyboardInterrupt):
        made.save()
    assert load(made.directory) is None


# fingerprint


def test_a_fingerprint_does_not_depend_on_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})


@pytest.mark.parametrize("other", [({"a": 2},), ({"a": 1}, None), ({"a": "1"},), ({"a": [1]},)])
def test_a_fingerprint_depends_on_every_value(other: tuple[object, ...]) -> None:
    assert fingerprint({"a": 1}) != fingerprint(*other)


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    assert fingerprint("digits", {"b": 1.5, "a": None}) == "40420ef293722ee3"
