"""An entry of the cache is written within its budget, and without what cannot be read, if asked."""

import logging
from pathlib import Path

import numpy as np
import pytest

from pipeline.data import cache
from pipeline.data.cache import Contents, Decoded
from pipeline.data.filling import Keeping
from pipeline.data.packed import Packed
from pipeline.data.unreadable import Unreadable
from pipeline.errors import DataError

COUNT, SHAPE = 20, (30, 40, 3)
NEEDED = COUNT * 30 * 40 * 3
BROKEN = Unreadable("broken.jpg", "image file is truncated")


def image(row: int) -> np.ndarray:
    return np.random.default_rng(row).integers(0, 16 * (row + 1) % 256 + 1, SHAPE, np.uint8)


def contents(broken: tuple[int, ...] = ()) -> Contents:
    labels = (np.arange(COUNT) % 2).astype(np.int32)
    spans = {"train": (0, 12), "test": (12, COUNT)}

    def images(rows: object) -> list[np.ndarray | Unreadable]:
        return [BROKEN if row in broken else image(row) for row in range(COUNT)]

    return Contents(("a", "b"), labels, SHAPE, spans, images)


def write(folder: Path, made: Contents, **how: object) -> Decoded:
    keeping = Keeping(**how)  # type: ignore[arg-type]
    found = cache.write(folder / "k", made, "toy", keeping)
    again = cache.read(folder / "k", keeping.limit_bytes)
    assert again is not None
    assert (np.asarray(again.images) == np.asarray(found.images)).all()
    return found


def test_what_fits_is_an_array_and_says_nothing(tmp_path: Path) -> None:
    found = write(tmp_path, contents(), limit_bytes=NEEDED)
    assert isinstance(found.images, np.memmap)
    assert found.notes == ()


def test_what_does_not_fit_is_compressed_and_has_the_same_fingerprint(tmp_path: Path) -> None:
    whole = write(tmp_path / "1", contents(), limit_bytes=NEEDED)
    found = write(tmp_path / "2", contents(), limit_bytes=NEEDED - 1)
    assert isinstance(found.images, Packed)
    assert (np.asarray(found.images) == whole.images).all()
    assert found.fingerprint == whole.fingerprint
    (note,) = found.notes
    assert "would take 72 kB, and data.cache allows 72 kB: 20 are kept compressed" in note


def test_an_array_that_is_there_is_not_used_beyond_a_smaller_budget(tmp_path: Path) -> None:
    write(tmp_path, contents(), limit_bytes=NEEDED)
    assert cache.read(tmp_path / "k", NEEDED - 1) is None
    assert isinstance(write(tmp_path, contents(), limit_bytes=NEEDED - 1).images, Packed)
    found = cache.read(tmp_path / "k", NEEDED)
    assert found is not None
    assert isinstance(found.images, np.memmap)


def test_a_budget_that_is_too_small_even_for_compressed_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"toy: .*data.cache=1000, needed_bytes=\d{5} or about"):
        write(tmp_path, contents(), limit_bytes=1000)
    with pytest.raises(DataError, match=r"data.cache=0, needed_bytes=\d{5} or about"):
        write(tmp_path, contents(), limit_bytes=0)
    assert list(tmp_path.iterdir()) == []


def test_all_that_cannot_be_read_are_named_at_the_end(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="3 images cannot be read"):
        write(tmp_path, contents((0, 5, 19)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", [NEEDED, NEEDED - 1])
def test_what_cannot_be_read_is_left_out_if_asked(tmp_path: Path, limit: int) -> None:
    found = write(tmp_path, contents((0, 5, 19)), limit_bytes=limit, skip_unreadable=True)
    rows = [row for row in range(COUNT) if row not in (0, 5, 19)]
    assert found.labels.tolist() == [row % 2 for row in rows]
    assert found.spans == {"train": (0, 10), "test": (10, 17)}
    assert (np.asarray(found.images) == np.stack([image(row) for row in rows])).all()
    assert found.notes[0].startswith("left out 3 images that cannot be read: broken.jpg (")


def test_a_class_that_loses_all_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image can be read of the class b"):
        write(tmp_path, contents(tuple(range(1, COUNT, 2))), skip_unreadable=True)


def test_pictures_left_out_before_are_told_with_the_others(tmp_path: Path) -> None:
    from dataclasses import replace

    made = replace(contents((3,)), unreadable=(Unreadable("empty.png", "the file is empty"),))
    found = write(tmp_path, made, skip_unreadable=True)
    assert found.notes[0].startswith(
        "left out 2 images that cannot be read: empty.png (the file is empty), broken.jpg"
    )


def test_short_work_has_no_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "flopsmith")
    write(tmp_path, contents())
    assert caplog.messages == []
