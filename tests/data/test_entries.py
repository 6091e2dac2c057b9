"""Pictures that a table names become a listing: each once, part by part."""

from pathlib import Path

import pytest
from support import photographs

from pipeline.data import entries
from pipeline.data.entries import Entry
from pipeline.data.table import Row, Table
from pipeline.errors import DataError


def entry(name: str, label: str = "cat", part: str = "", line: int = 2) -> Entry:
    return Entry(Path(name), label, part, f"line {line} of t.csv")


def test_parts_stand_together_in_their_order() -> None:
    made = entries.listing(
        [entry("a", part="val"), entry("b", "dog", "test"), entry("c", part="train")], "csv:t"
    )
    assert made.parts == ["train", "test", "val"]
    assert made.labels == ["cat", "dog", "cat"]
    assert next(name for name, _ in made.files) == "c (line 2 of t.csv)"  # type: ignore[union-attr]


def test_a_single_part_held_out_is_the_test_part() -> None:
    made = entries.listing([entry("a", part="val"), entry("b", part="train")], "csv:t")
    assert made.parts == ["train", "test"]
    assert made.notes == ("the only part held out, val, is the test part",)


def test_without_a_train_part_nothing_is_learned() -> None:
    with pytest.raises(DataError, match=r"no train part.*images=\{'test': 1, 'val': 1\}"):
        entries.listing([entry("a", part="test"), entry("b", part="val")], "csv:t")


def test_a_picture_named_again_counts_once_and_is_told() -> None:
    made = entries.listing([entry("a"), entry("a", line=7), entry("b")], "csv:t")
    assert len(made.labels) == 2
    assert made.notes == ("1 lines name a picture again, and count once",)


def test_a_picture_in_two_parts_is_told() -> None:
    named = [entry("a", part="train"), entry("a", part="test"), entry("b", part="train")]
    assert "1 pictures are in more than one part" in entries.listing(named, "csv:t").notes[0]


def test_a_picture_of_two_classes_is_refused_with_both_lines() -> None:
    with pytest.raises(DataError, match=r"file=a, 'cat' in line 2 of t.csv, 'dog' in line 9"):
        entries.listing([entry("a"), entry("a", "dog", line=9)], "csv:t")


@pytest.mark.parametrize(
    ("labels", "order"),
    [({"10", "9", "1"}, ("1", "9", "10")), ({"01", "1"}, ("01", "1")), ({"1", "b"}, None)],
)
def test_whole_numbers_are_sorted_by_value(labels: set[str], order: tuple[str, ...] | None) -> None:
    assert entries.by_value(labels, []) == order


def test_paths_begin_at_the_table_and_may_be_those_of_windows(tmp_path: Path) -> None:
    picture = photographs.write(tmp_path / "cat" / "a b.png", 0)
    written = ["cat/a b.png", "cat\\a b.png", str(picture), "none\\x.png"]
    rows = tuple(Row(line, path, "cat", "") for line, path in enumerate(written, 2))
    found = entries.of_table(Table(tmp_path / "t.csv", rows, ()), "train")
    assert [one.path for one in found] == [*[picture] * 3, tmp_path / "none/x.png"]
    assert {one.part for one in found} == {"train"}
    assert found[3].place == "line 5 of t.csv"


def test_the_identity_follows_files_classes_and_parts(tmp_path: Path) -> None:
    picture = photographs.write(tmp_path / "a.png", 0)
    one = [Entry(picture, "cat", "", "")]
    assert entries.identity(one) == entries.identity([Entry(picture, "cat", "", "elsewhere")])
    assert entries.identity(one) != entries.identity([Entry(picture, "dog", "", "")])
    before = entries.identity(one)
    photographs.write(picture, 1, 9)
    assert entries.identity(one) != before
    assert entries.identity([entry("none")])[0][3:] == []
