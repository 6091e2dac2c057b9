"""Tables that name pictures: columns and delimiters are found, and every fault has its place."""

import json
from pathlib import Path

import pytest

from pipeline.data import table
from pipeline.data.table import Row, Table
from pipeline.errors import DataError


def read(tmp_path: Path, text: str | bytes, name: str = "t.csv") -> Table:
    (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return table.read(tmp_path / name, f"csv:{name}")


def refused(tmp_path: Path, text: str | bytes, name: str = "t.csv") -> str:
    with pytest.raises(DataError) as caught:
        read(tmp_path, text, name)
    message = str(caught.value)
    assert "\n" not in message
    assert name in message
    return message


@pytest.mark.parametrize(
    "header",
    [
        *("path,label", "Label;PATH", "file\tclass", "category|filename", '"image","target"'),
        *("id,file_name,label", "class id,filepaths,labels,data set", "\ufefffile_path,className"),
        *("sep=;\npath;label", "\n\npath,label", "img,y", "Images,Categories"),
    ],
)
def test_columns_and_delimiters_of_many_kinds_are_found(tmp_path: Path, header: str) -> None:
    words = {"id": "9", "label": "cat", "class": "cat", "category": "cat", "target": "cat"}
    words |= {"labels": "cat", "classname": "cat", "y": "cat", "categories": "cat"}
    words |= {"class id": "0", "data set": "train"}
    last = header.strip().rpartition("\n")[2].lstrip("\ufeff").replace('"', "")
    delimiter = next(one for one in ",;\t|" if one in last)
    fields = [words.get(name.lower(), "a b.png") for name in last.split(delimiter)]
    made = read(tmp_path, f"{header}\r\n{delimiter.join(fields)}\r\n")
    assert [(row.path, row.label) for row in made.rows] == [("a b.png", "cat")]


def test_which_columns_count_is_told(tmp_path: Path) -> None:
    made = read(tmp_path, "id,path,label,split\n1,a.png,cat,Validation\n\n2,b.png,dog,TRAIN\n")
    assert made.rows == (Row(2, "a.png", "cat", "val"), Row(4, "b.png", "dog", "train"))
    assert made.notes == (
        "columns of t.csv: path is the picture, label is the class, split is the part; "
        "ignored 'id'",
    )


def test_quotes_hold_delimiters_and_quotes(tmp_path: Path) -> None:
    made = read(tmp_path, 'path,label\n"a, ""b"".png","cat, big"\n')
    assert made.rows == (Row(2, 'a, "b".png', "cat, big", ""),)


def test_a_file_without_a_header_begins_with_a_picture(tmp_path: Path) -> None:
    made = read(tmp_path, "cat,a.JPG,test\ndog,b.jpg,train\n")
    assert made.rows == (Row(1, "a.JPG", "cat", "test"), Row(2, "b.jpg", "dog", "train"))
    assert "column 2 is the picture, column 1 its class" in made.notes[0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_text_of_usual_encodings_is_read(tmp_path: Path, encoding: str) -> None:
    made = read(tmp_path, "path,label\na.png,café\n".encode(encoding))
    assert made.rows[0].label == "café"
    assert ("is read as Windows-1252" in " ".join(made.notes)) == (encoding == "cp1252")


def test_numbers_with_a_point_are_whole(tmp_path: Path) -> None:
    made = read(tmp_path, "path,label\na.png,1.0\nb.png,10.0\n")
    assert [row.label for row in made.rows] == ["1", "10"]
    assert any("labels are whole numbers with a point, as 1.0" in note for note in made.notes)
    mixed = read(tmp_path, "path,label\na.png,1.0\nb.png,1.5\n")
    assert [row.label for row in mixed.rows] == ["1.0", "1.5"]


def test_json_lines_are_read(tmp_path: Path) -> None:
    lines = [
        {"file_name": "a.png", "label": 3, "text": ["x"]},
        {"label": "b", "file_name": "b.png"},
    ]
    text = "\n".join(map(json.dumps, lines)) + "\n"
    assert read(tmp_path, text, "m.jsonl").rows == (
        Row(1, "a.png", "3", ""),
        Row(2, "b.png", "b", ""),
    )
    assert "line=2" in refused(tmp_path, '{"file": "a.png", "label": 1}\n{"fi', "m.jsonl")
    assert "no object. Received" in refused(tmp_path, "[1]", "m.jsonl")
    assert "without a label" in refused(tmp_path, '{"file": "a.png", "label": null}', "m.jsonl")
    assert "no column of classes" in refused(tmp_path, '{"file": "a.png"}', "m.jsonl")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("path,label\n", "has no rows"),
        ("a,b\nx.png,cat\n", "no column of pictures and classes"),
        ("path,b\nx.png,cat\n", "no column of classes. Received"),
        ("path,label\nx.png,cat\ny.png\n", "a line of 1 fields, and the first one has 2"),
        ("path,label\nx, y.png,cat\n", "line=2. Put text with a delimiter in it into quotes"),
        ("path,label\nx.png,cat\ny.png,\n", "without a label. Received"),
        ("path,label\n\n,cat\n", "line=3, column=path, value=''"),
        ("path,label,split\nx.png,cat,extra\n", "unknown part"),
        (
            "path,label,split\nx.png,cat,extra\n",
            "line=2, column=split, value='extra'. Write one of",
        ),
        ('path,label\n"x.png,cat\ny.png,dog\n', "no CSV: unexpected end of data"),
        (b"PK\x03\x04\0\0\0", "the file is no text"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    tmp_path: Path, text: str | bytes, said: str
) -> None:
    assert said in refused(tmp_path, text)


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the file cannot be read"):
        table.read(tmp_path, f"csv:{tmp_path}")
