"""Opening a source: all unreadable pictures are named at once, or the others are used."""

from pathlib import Path

import numpy as np
import pytest
from support import photographs

from pipeline.data import opening
from pipeline.data.pictures import Form
from pipeline.errors import DataError


def folder(root: Path, count: int = 5) -> Path:
    for label, name in enumerate(("cat", "dog")):
        for number in range(count):
            photographs.write(root / name / f"{number}.jpg", label, number)
    return root


def opened(root: Path, skip: bool) -> opening.Contents:
    name = f"folder:{root}"
    return opening.opened(opening.find(name, Form(), None), name, skip)


def test_pictures_without_a_header_and_those_cut_off_are_in_one_error(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "cat/1.jpg").write_text("<html>")
    photographs.cut(tmp_path / "dog/2.jpg")
    photographs.cut(tmp_path / "dog/4.jpg")
    with pytest.raises(DataError, match=r"3 images cannot be read.*cat/1.*dog/2.*dog/4"):
        opened(tmp_path, skip=False)


def test_if_asked_the_others_are_used(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "cat/1.jpg").write_text("<html>")
    assert opened(tmp_path, skip=True).labels.tolist() == [0] * 4 + [1] * 5


def test_of_some_rows_those_that_can_be_read_are_given(tmp_path: Path) -> None:
    folder(tmp_path)
    photographs.cut(tmp_path / "dog/0.jpg")
    found = opened(tmp_path, skip=True)
    part = np.arange(10)
    images, rows = opening.images(found, np.array([4, 5, 6]), part, True)
    assert rows.tolist() == [4, 6]
    assert len(images) == 2
    _, rows = opening.images(found, np.array([5]), np.array([5, 7, 8]), True)
    assert rows.tolist() == [7]  # another one of the part
    with pytest.raises(DataError, match="an image cannot be read"):
        opening.images(found, np.array([4, 5]), part, False)
    with pytest.raises(DataError, match="an image cannot be read"):
        opening.images(found, np.array([5]), np.array([5]), True)
