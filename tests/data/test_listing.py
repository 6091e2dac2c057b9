"""Listed pictures -> what a source holds: classes, parts, headers, and pictures that are broken."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from support import photographs

from pipeline.data import listing
from pipeline.data.listing import Listing
from pipeline.data.pictures import Form
from pipeline.data.unreadable import Unreadable
from pipeline.errors import DataError


def files(root: Path, labels: Sequence[str], parts: Sequence[str] | None = None) -> Listing:
    """One PNG per label."""
    paths = [
        photographs.write(root / f"{number}.png", sorted(set(labels)).index(label), number)
        for number, label in enumerate(labels)
    ]
    return Listing(labels, parts or [""] * len(labels), [(str(path), path) for path in paths])


def contents(listed: Listing, form: Form | None = None) -> listing.Contents:
    return listing.contents(listed, "toy", form or Form())


def test_classes_are_sorted_and_images_come_in_the_order_of_the_rows(tmp_path: Path) -> None:
    made = contents(files(tmp_path, ["dog", "cat", "dog"]))
    assert made.class_names == ("cat", "dog")
    assert made.labels.tolist() == [1, 0, 1]
    pixels = [image[0, 0].tolist()[:2] for image in made.images(None)]
    assert pixels == [[10, 0], [0, 1], [10, 2]]
    assert [image[0, 0, 1] for image in made.images([2, 0])] == [2, 0]


def test_a_source_may_name_the_classes_in_its_own_order(tmp_path: Path) -> None:
    listed = files(tmp_path, ["dog", "cat"])
    own = Listing(listed.labels, listed.parts, listed.files, ("dog", "cat", "eel"))
    made = contents(own)
    assert made.class_names == ("dog", "cat", "eel")
    assert made.labels.tolist() == [0, 1]
    assert "no image of 1 of 3 classes: eel" in made.notes


def test_pictures_may_be_bytes() -> None:
    data = [photographs.encoded(label, 7) for label in (0, 1)]
    listed = Listing("ab", ["", ""], lambda rows: ((f"row {row}", data[row]) for row in rows))
    made = contents(listed)
    assert made.paths is None
    assert [image[0, 0].tolist()[:2] for image in made.images([1])] == [[10, 7]]


def test_parts_have_rows_and_missing_classes_are_told(tmp_path: Path) -> None:
    made = contents(files(tmp_path, ["a", "b", "a", "b"], ["train", "train", "train", "test"]))
    assert made.spans == {"train": (0, 3), "test": (3, 4)}
    assert "no image in the test part of 1 of 2 classes: a" in made.notes


def test_a_class_that_train_lacks_is_named_with_the_one_that_may_be_meant(tmp_path: Path) -> None:
    listed = files(tmp_path, ["cat", "dog", "Cat"], ["train", "train", "test"])
    with pytest.raises(DataError, match=r"class 'Cat' of the test part.*meant to be 'cat'\?"):
        contents(listed)


def test_many_classes_that_train_lacks_are_counted(tmp_path: Path) -> None:
    labels = ["cat", "dog", *(f"new {number:02}" for number in range(12))]
    listed = files(tmp_path, labels, ["train"] * 2 + ["val"] * 12)
    with pytest.raises(DataError, match=r"12 classes of the val part .*'new 09' \.\.\."):
        contents(listed)


def test_pictures_without_a_header_are_left_out_and_named(tmp_path: Path) -> None:
    listed = files(tmp_path, ["a", "b", "a", "b"], ["train", "train", "test", "test"])
    (tmp_path / "0.png").write_text("no picture")
    made = contents(listed)
    assert [one.why for one in made.unreadable] == [
        "it is no picture of a known kind, whatever its name says"
    ]
    assert made.labels.tolist() == [1, 0, 1]
    assert made.spans == {"train": (0, 1), "test": (1, 3)}
    assert [path.name for path in made.paths or ()] == ["1.png", "2.png", "3.png"]


def test_a_class_without_a_picture_that_can_be_read_is_refused(tmp_path: Path) -> None:
    listed = files(tmp_path, ["a", "b"])
    (tmp_path / "1.png").unlink()
    with pytest.raises(DataError, match=r"class b\. Received: .*1.png \(there is no such file\)"):
        contents(listed)


def test_a_picture_that_is_cut_off_stands_in_its_place(tmp_path: Path) -> None:
    listed = files(tmp_path, ["a", "b", "a"])
    photographs.cut(tmp_path / "1.png")
    found = list(contents(listed).images(None))
    assert [isinstance(one, Unreadable) for one in found] == [False, True, False]
    assert found[1].name == f"{tmp_path}/1.png"
    assert "truncated" in found[1].why


def test_a_deep_picture_that_is_cut_off_is_left_out(tmp_path: Path) -> None:
    from PIL import Image

    listed = files(tmp_path, ["a", "b", "a"])
    noise = np.random.default_rng(0).integers(0, 4096, (40, 40)).astype(np.uint16)
    for number in (0, 2):
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
    photographs.cut(tmp_path / "2.png")
    made = contents(listed)
    assert [one.name for one in made.unreadable] == [f"{tmp_path}/2.png"]
    assert made.levels == (0, 4095)
    assert len(made.labels) == 2


def test_files_are_read_a_few_ahead_and_come_in_order() -> None:
    asked: list[int] = []

    def read(file: object) -> int:
        number = int(file.getvalue())  # type: ignore[attr-defined]
        time.sleep(0.001 * (5 - number % 5))
        return number

    def coming() -> object:
        for number in range(200):
            asked.append(number)
            yield str(number), str(number).encode()

    found = listing.in_threads(read, coming())
    assert next(found) == 0
    assert len(asked) <= listing.AHEAD + 1
    assert list(found) == list(range(1, 200))
