"""Image folders in which a `metadata` file names the classes, as Hugging Face keeps them."""

import json
from pathlib import Path

import pytest
from support import photographs

from pipeline.data import datasets
from pipeline.data.datasets import DataConfig, Dataset


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def pictures(folder: Path, count: int) -> list[dict[str, object]]:
    """Pictures in one folder, and what a line says of each."""
    for number in range(count):
        photographs.write(folder / f"{number:02}.png", number % 2, number)
    return [{"file_name": f"{number:02}.png", "label": number % 2} for number in range(count)]


def load(root: Path) -> Dataset:
    return datasets.load(DataConfig(source=f"folder:{root}"), 0)


def told(loaded: Dataset) -> str:
    return " | ".join(loaded.notes)


def are_labelled(loaded: Dataset) -> bool:
    return all(
        (part.images[part.index][:, 0, 0, 0] == 10 * part.labels).all()
        for part in (loaded.train, loaded.val, loaded.test)
    )


def test_json_lines_in_the_folder_of_each_part(tmp_path: Path) -> None:
    for part, count in (("train", 12), ("validation", 4), ("test", 6)):
        rows = pictures(tmp_path / "hf" / part, count)
        text = "\n".join(json.dumps(row | {"text": "a caption"}) for row in rows)
        (tmp_path / "hf" / part / "metadata.jsonl").write_text(text)
    loaded = load(tmp_path / "hf")
    assert [len(part) for part in (loaded.train, loaded.val, loaded.test)] == [12, 4, 6]
    assert loaded.class_names == ("0", "1")
    assert are_labelled(loaded)
    assert told(loaded).count("columns of metadata.jsonl") == 1


def test_one_csv_file_at_the_top_names_parts_by_their_folders(tmp_path: Path) -> None:
    lines = ["file_name,label"]
    for part, count in (("train", 12), ("test", 6)):
        for row in pictures(tmp_path / "hf" / part, count):
            lines.append(f"{part}/{row['file_name']},{['cat', 'dog'][int(str(row['label']))]}")
    (tmp_path / "hf" / "metadata.csv").write_text("\n".join(lines))
    loaded = load(tmp_path / "hf")
    assert len(loaded.test) == 6
    assert loaded.class_names == ("cat", "dog")
    assert are_labelled(loaded)


def test_pictures_that_it_does_not_name_are_counted(tmp_path: Path) -> None:
    rows = pictures(tmp_path / "hf", 12)
    text = "\n".join(json.dumps(row) for row in rows[:-2])
    (tmp_path / "hf" / "metadata.jsonl").write_text(text)
    loaded = load(tmp_path / "hf")
    assert "left out 2 pictures that are not named in metadata.jsonl" in told(loaded)
    assert len(loaded.train.images) == 10


def test_classes_of_the_file_count_more_than_folders_and_that_is_told(tmp_path: Path) -> None:
    lines = ["file_name,label"]
    for name in ("x", "y"):
        pictures(tmp_path / "hf" / name, 6)
        lines += [f"{name}/{number:02}.png,{'ab'[number % 2]}" for number in range(6)]
    (tmp_path / "hf" / "metadata.csv").write_text("\n".join(lines))
    loaded = load(tmp_path / "hf")
    assert loaded.class_names == ("a", "b")
    assert "classes are those of metadata.csv, not the names of folders" in told(loaded)


@pytest.mark.parametrize("text", ["file_name,caption\nx/00.png,hello\n", "", "\0", "a;b\n"])
def test_a_file_without_classes_leaves_the_folders_their_say(tmp_path: Path, text: str) -> None:
    for label, name in enumerate("xy"):
        for number in range(6):
            photographs.write(tmp_path / "hf" / name / f"{number}.png", label, number)
    (tmp_path / "hf" / "metadata.csv").write_text(text)
    loaded = load(tmp_path / "hf")
    assert loaded.class_names == ("x", "y")
    assert "ignored 1 files or folders: 1 .csv" in told(loaded)
