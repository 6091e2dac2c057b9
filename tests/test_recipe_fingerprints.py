"""Fingerprints: what changes the result of a stage changes its own and those after it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.recipes import HEAD, STAGES, Read
from support.recipes import read as read

from pipeline import stage


@pytest.fixture
def prints(read: Read) -> Callable[[str], list[str]]:
    return lambda overrides: read(HEAD + STAGES, overrides).fingerprints("1.0", "pixels")


@pytest.mark.parametrize(
    ("overrides", "first"),
    [
        ("search.trials=4", 0),
        ("finetune.epochs=8", 1),
        ("prune.sparsity=0.4", 2),
        ("max_accuracy_drop=0.3", 2),
        ("export.calibration_images=7", 3),
        ("seed=8", 0),
        ("objective=macro_f1", 0),
        ("budget.flops=7M", 0),
        ("targets=[]", 0),
    ],
)
def test_a_change_changes_the_fingerprints_from_its_stage_on(
    prints: Callable[[str], list[str]], overrides: str, first: int
) -> None:
    pairs = zip(prints(""), prints(overrides), strict=True)
    assert [before == after for before, after in pairs] == [place < first for place in range(5)]


def test_what_changes_no_result_changes_no_fingerprint(prints: Callable[[str], list[str]]) -> None:
    assert prints("description=Other") == prints("")


def test_a_default_that_is_written_out_changes_no_fingerprint(
    prints: Callable[[str], list[str]],
) -> None:
    epochs = stage.load("search").Config().epochs
    assert prints(f"search.epochs={epochs}") == prints("")


@pytest.mark.parametrize("parts", [("1.1", "pixels"), ("1.0", "other pixels")])
def test_other_code_or_other_pixels_change_every_fingerprint(
    read: Read, prints: Callable[[str], list[str]], parts: tuple[str, str]
) -> None:
    assert not set(read(HEAD + STAGES).fingerprints(*parts)) & set(prints(""))


def test_a_stage_that_is_put_in_front_changes_the_fingerprints_after_it(read: Read) -> None:
    without = read(f"{HEAD}stages: [search, prune, cluster]").fingerprints("1", "x")
    with_it = read(f"{HEAD}stages: [search, finetune, prune, cluster]").fingerprints("1", "x")
    assert with_it[0] == without[0]
    assert not set(with_it[1:]) & set(without[1:])


def test_fingerprints_of_equal_stages_in_a_row_differ(read: Read) -> None:
    prints = read(f"{HEAD}stages: [search, prune, prune]").fingerprints("1", "x")
    assert len(set(prints)) == 3


def test_another_file_under_the_same_name_changes_the_fingerprints(
    read: Read, tmp_path: Path
) -> None:
    model = tmp_path / "my.keras"
    text = f"{HEAD}stages: [load: {{model: {model}}}, prune]"
    found = []
    for content in (b"one", b"two", b"one"):
        model.write_bytes(content)
        found.append(read(text).fingerprints("1", "x"))
    assert found[0] == found[2]
    assert not set(found[0]) & set(found[1])
