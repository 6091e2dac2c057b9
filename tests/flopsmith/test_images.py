"""Data sets of arrays: they are divided as others are, and what is no pair is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import flopsmith
from pipeline.data.datasets import Dataset
from pipeline.errors import DataError


def test_arrays_are_divided(squares: Dataset) -> None:
    images, labels = squares.train.arrays()
    data = flopsmith.load_data((images, labels), val_fraction=0.25, test_fraction=0.25)
    assert [len(part) for part in (data.train, data.val, data.test)] == [8, 4, 4]
    again, answers = data.train.arrays()
    assert (again[:, 0, 0, 0] == 255 * answers).all()


def test_arrays_with_a_test_part_keep_it(squares: Dataset) -> None:
    images, labels = squares.train.arrays()
    data = flopsmith.load_data(((images / 255, labels), (images[:2] / 255, labels[:2])))
    assert data.test.arrays()[0].tolist() == images[:2].tolist()
    assert len(data.train) + len(data.val) == 16


def test_the_fingerprint_of_arrays_follows_their_content(squares: Dataset) -> None:
    images, labels = squares.train.arrays()
    first, again = (flopsmith.load_data((images, labels)).fingerprint for _ in range(2))
    assert first == again != flopsmith.load_data((255 - images, labels)).fingerprint


def test_pictures_that_cannot_be_read_are_left_out_where_asked(tmp_path: Path) -> None:
    for number in range(12):
        place = tmp_path / "pets" / ("cat" if number % 2 else "dog")
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (20 * number, 0, 0)).save(place / f"{number}.png")
    (tmp_path / "pets" / "cat" / "broken.png").write_bytes(b"no picture")
    source = f"folder:{tmp_path / 'pets'}"
    with pytest.raises(DataError, match="an image cannot be read"):
        flopsmith.load_data(source)
    data = flopsmith.load_data(source, skip_unreadable=True, cache="1M")
    assert sum(len(part) for part in (data.train, data.val, data.test)) == 12


def test_what_is_no_pair_is_refused() -> None:
    with pytest.raises(DataError, match="Received: tuple of 3"):
        flopsmith.load_data((np.zeros(1), np.zeros(1), np.zeros(1)))  # type: ignore[arg-type]
