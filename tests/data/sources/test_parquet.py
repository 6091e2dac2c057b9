"""`parquet:PATH`: data sets as Hugging Face keeps them, and what is refused of them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import photographs

from pipeline.data import datasets
from pipeline.data.datasets import DataConfig, Dataset
from pipeline.errors import DataError

NAMES = ("zebra", "ant", "cow")
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def pictures(count: int, first: int = 0) -> list[bytes]:
    return [photographs.encoded(number % 3, number) for number in range(first, first + count)]


def structs(data: Sequence[bytes | None], paths: Sequence[str] | None = None) -> pa.Array:
    rows = [
        {"bytes": one, "path": paths[place] if paths else None} for place, one in enumerate(data)
    ]
    return pa.array(rows, STRUCT)


def write(
    file: Path,
    count: int,
    names: Sequence[str] | None = NAMES,
    labels: Any = None,
    image: Any = None,
    **more: Any,
) -> Path:
    """A table of pictures whose pixels tell class and number, in groups of five rows."""
    columns = {
        "image": structs(pictures(count)) if image is None else image,
        "label": [number % 3 for number in range(count)] if labels is None else labels,
    }
    made = pa.table(columns | more)
    kind = {"_type": "ClassLabel", "names": names} if names else {"_type": "Value"}
    about = {"info": {"features": {"image": {"_type": "Image"}, "label": kind}}}
    made = made.replace_schema_metadata({"huggingface": json.dumps(about)})
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(made, file, row_group_size=5)
    return file


def load(path: Path, **settings: object) -> Dataset:
    return datasets.load(DataConfig.model_validate({"source": f"parquet:{path}", **settings}), 0)


def sizes(loaded: Dataset) -> list[int]:
    return [len(part) for part in (loaded.train, loaded.val, loaded.test)]


def are_labelled(loaded: Dataset) -> bool:
    return all(
        (part.images[part.index][:, 0, 0, 0] == 10 * part.labels).all()
        for part in (loaded.train, loaded.val, loaded.test)
    )


def test_names_of_classes_keep_their_order(tmp_path: Path) -> None:
    loaded = load(write(tmp_path / "data.parquet", 24, id=list(range(24))))
    assert loaded.class_names == NAMES
    assert are_labelled(loaded)
    assert loaded.train.images[:, 0, 0, 1].tolist() == list(range(24))
    assert "columns: image is the picture, label is the class; ignored 'id'" in loaded.notes


@pytest.mark.parametrize("place", ["data/{}-00000-of-00002-1f.parquet", "{}/0000.parquet"])
def test_parts_are_named_by_files_or_folders(tmp_path: Path, place: str) -> None:
    for part, count in (("train", 12), ("validation", 6), ("test", 9)):
        write(tmp_path / "hf" / place.format(part), count)
    loaded = load(tmp_path / "hf")
    assert sizes(loaded) == [12, 6, 9]
    assert are_labelled(loaded)


def test_several_files_of_a_part_are_put_together(tmp_path: Path) -> None:
    for number in range(2):
        image = structs(pictures(12, 12 * number))
        write(tmp_path / "hf" / f"train-0000{number}-of-00002.parquet", 12, image=image)
    loaded = load(tmp_path / "hf")
    assert loaded.train.images[:, 0, 0, 1].tolist() == list(range(24))
    assert are_labelled(loaded)


def test_some_images_are_read_without_the_others(tmp_path: Path) -> None:
    path = write(tmp_path / "data.parquet", 24)
    some, names = datasets.sample(DataConfig(source=f"parquet:{path}"), 0, 3, "train")
    assert names == NAMES
    assert (some.images[:, 0, 0, 0] == 10 * some.labels).all()
    assert len(some) == 3


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([2 * (number % 3) for number in range(24)], ("0", "2", "4")),
        ([NAMES[number % 3] for number in range(24)], ("ant", "cow", "zebra")),
        (pa.array([NAMES[n % 3] for n in range(24)]).dictionary_encode(), ("ant", "cow", "zebra")),
        ([number % 3 > 1 for number in range(24)], ("False", "True")),
    ],
)
def test_classes_may_be_numbers_or_text(tmp_path: Path, labels: Any, names: Sequence[str]) -> None:
    loaded = load(write(tmp_path / "data.parquet", 24, None, labels))
    assert loaded.class_names == tuple(names)


def test_columns_of_other_names_and_plain_bytes_are_found(tmp_path: Path) -> None:
    table = pa.table({"img": pictures(24), "class": [NAMES[n % 3] for n in range(24)]})
    pq.write_table(table, tmp_path / "data.parquet")
    assert load(tmp_path / "data.parquet").class_names == ("ant", "cow", "zebra")


def test_a_struct_may_name_a_file_instead_of_its_bytes(tmp_path: Path) -> None:
    for number in range(24):
        photographs.write(tmp_path / f"{number}.png", number % 3, number)
    image = structs([None] * 24, [f"{number}.png" for number in range(24)])
    assert are_labelled(load(write(tmp_path / "data.parquet", 24, image=image)))


def test_a_part_without_classes_is_left_out_and_told(tmp_path: Path) -> None:
    write(tmp_path / "hf/train-0.parquet", 24)
    write(tmp_path / "hf/test-0.parquet", 6, labels=[-1] * 6)
    loaded = load(tmp_path / "hf")
    assert sum(sizes(loaded)) == 24
    assert "left out test: its 6 images have no classes" in loaded.notes


def test_pictures_that_cannot_be_read_are_named_or_left_out(tmp_path: Path) -> None:
    data: list[bytes | None] = [*pictures(24)]
    data[3], data[7], data[9] = (data[3] or b"")[:-40], b"no picture", None
    path = write(tmp_path / "data.parquet", 24, image=structs(data))
    with pytest.raises(DataError, match=r"3 images.*row 7 \(it is no.*row 9 \(the file is empty\)"):
        load(path)
    loaded = load(path, skip_unreadable=True)
    assert sum(sizes(loaded)) == 21
    assert are_labelled(loaded)


def test_compressed_images_in_the_cache_are_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "data.parquet", 24)
    packed = load(path, cache=100_000)
    assert any("compressed without loss" in note for note in packed.notes)
    assert packed.fingerprint == load(path).fingerprint


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"label": None}, "no column of classes"),
        ({"image": None}, "no column of pictures"),
        ({"label": [0.5] * 6}, "does not hold one class per picture.*type=double"),
        ({"label": [0, 1, None, 0, 1, 0]}, "1 images have no class.*row=2"),
        ({"label": [0, 1, 2, 7, 0, 1]}, "a number of a class has no name.*label=7, names=3"),
    ],
)
def test_what_is_not_such_a_table_is_refused(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    write(tmp_path / "data.parquet", 6)
    made = pq.read_table(tmp_path / "data.parquet")
    for name, column in changes.items():
        made = (
            made.drop_columns(name)
            if column is None
            else made.drop_columns(name).append_column(name, pa.array(column))
        )
    pq.write_table(made, tmp_path / "data.parquet")
    with pytest.raises(DataError, match=said):
        load(tmp_path / "data.parquet")


def test_a_part_that_is_not_clear_is_refused(tmp_path: Path) -> None:
    for name in ("train-0", "more-0"):
        write(tmp_path / "hf" / f"{name}.parquet", 6)
    with pytest.raises(DataError, match=r"not clear.*file=more-0.parquet, parts of others=\['tra"):
        load(tmp_path / "hf")


def test_files_that_are_not_there_or_no_parquet_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file or folder"):
        load(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no file that ends in \.parquet"):
        load(tmp_path / "empty")
    (tmp_path / "bad.parquet").write_text("PAR1 and nothing more")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        load(tmp_path / "bad.parquet")
