"""`csv:FILE`: a table of pictures becomes a data set, and a wrong one is told."""

from pathlib import Path

import pytest
from support import photographs

from pipeline.data import datasets
from pipeline.data.datasets import DataConfig, Dataset
from pipeline.errors import DataError

NAMES = ("cat", "dog", "eel")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "flopsmith"


def table(root: Path, count: int = 24, more: str = "", parts: bool = False) -> Path:
    """A table of pictures, of whose classes the pixels tell."""
    lines = ["path,label" + ",split" * parts]
    for number in range(count):
        photographs.write(root / "pics" / f"{number}.png", number % 3, number)
        part = f",{('train', 'train', 'test')[number // 3 % 3]}" if parts else ""
        lines.append(f"pics/{number}.png,{NAMES[number % 3]}{part}")
    (root / "t.csv").write_text("\n".join(lines) + "\n" + more)
    return root / "t.csv"


def load(path: Path | str, **settings: object) -> Dataset:
    return datasets.load(DataConfig.model_validate({"source": f"csv:{path}", **settings}), 0)


def test_classes_are_those_of_the_table(tmp_path: Path) -> None:
    loaded = load(table(tmp_path))
    assert loaded.class_names == NAMES
    assert loaded.image_shape == (40, 40, 3)
    for part in (loaded.train, loaded.val, loaded.test):
        assert (part.images[part.index][:, 0, 0, 0] == 10 * part.labels).all()


def test_parts_are_those_of_the_table(tmp_path: Path) -> None:
    loaded = load(table(tmp_path, 27, parts=True), val_fraction=0.2)
    assert [len(part) for part in (loaded.train, loaded.val, loaded.test)] == [14, 4, 9]
    numbers = loaded.test.images[loaded.test.index][:, 0, 0, 1]
    assert sorted(numbers) == [6, 7, 8, 15, 16, 17, 24, 25, 26]


def test_paths_begin_at_the_table_wherever_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table(tmp_path / "data")
    first = load(tmp_path / "data/t.csv").fingerprint
    monkeypatch.chdir(tmp_path)
    assert load("data/t.csv").fingerprint == first
    monkeypatch.chdir(tmp_path / "data")
    assert load("t.csv").fingerprint == first


def test_a_changed_table_and_a_changed_picture_are_read_anew(tmp_path: Path) -> None:
    path = table(tmp_path)
    first = load(path).fingerprint
    text = path.read_text()
    path.write_text(text.replace("pics/0.png,cat", "pics/0.png,dog"))
    assert load(path).fingerprint != first
    path.write_text(text)
    assert load(path).fingerprint == first
    photographs.write(tmp_path / "pics/0.png", 0, 200)
    assert load(path).fingerprint != first


def test_a_missing_picture_is_named_with_its_line_or_left_out(tmp_path: Path, cache: Path) -> None:
    path = table(tmp_path, more="pics/none.png,cat\npics,dog\n")
    with pytest.raises(DataError, match=r"2 images.*none.png \(line 26 of t.csv\) \(there is no"):
        load(path)
    assert not cache.exists() or list(cache.iterdir()) == []
    loaded = load(path, skip_unreadable=True)
    assert len(loaded.train.images) == 24
    assert any(note.startswith("left out 2 images that cannot") for note in loaded.notes)


def test_a_path_alone_that_ends_in_csv_is_a_table(tmp_path: Path) -> None:
    path = table(tmp_path)
    assert DataConfig(source=str(path)).source == f"csv:{path}"
    assert DataConfig(source="photos.tsv").source == "csv:photos.tsv"


@pytest.mark.parametrize(("rest", "said"), [("none.csv", "does not exist"), ("", "is a folder")])
def test_what_is_no_file_is_refused(tmp_path: Path, rest: str, said: str) -> None:
    with pytest.raises(DataError, match=f"the table {said}"):
        load(tmp_path / rest)
