"""What a user is told of pictures and images."""

import numpy as np
import pytest

from pipeline.data import inspection
from pipeline.data.pictures import Header


def grey(value: int, channels: int = 3) -> np.ndarray:
    return np.full((4, 4, channels), value, np.uint8)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([grey(200), grey(10)], ["all images are grey"]),
        ([grey(200), np.eye(3, dtype=np.uint8)[None] * 255], []),
        ([grey(200, 1)], []),
        ([grey(20, 1), grey(31, 1)], ["brightest value of all images is 31"]),
        ([grey(0)], ["nearly black", "all images are grey"]),
        ([], []),
    ],
)
def test_images_that_are_all_grey_or_black_are_told(
    images: list[np.ndarray], said: list[str]
) -> None:
    notes = inspection.seen(images)
    assert len(notes) == len(said)
    assert all(part in note for part, note in zip(said, notes, strict=True))


def test_what_becomes_of_pictures_is_counted() -> None:
    headers = [
        Header(8, 8, True, mode="L"),
        Header(8, 8, False, mode="RGB"),
        Header(8, 8, False, mode="RGBA", frames=3),
        Header(8, 8, False, mode="CMYK", broken_exif=True),
        Header(8, 8, True, mode="I;16", deep=True),
    ]
    assert inspection.kinds(headers, 3) == [
        "1 pictures have several frames or pages: the first one counts",
        "1 pictures have EXIF data that cannot be read: they stay as they lie",
        "1 pictures have transparency: what is transparent becomes white",
        "1 pictures are CMYK, and are converted",
        "2 pictures are grey and become RGB, the same value three times",
    ]
    assert inspection.kinds(headers[:1], 1) == []
    assert inspection.kinds(headers[:2], 1) == ["1 pictures are in colour and become grey"]


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([(32, 32)], []),
        ([(40, 60)], ["images are not square (40x60 to 40x60), using 32x32"]),
        ([(40, 60), (90, 30)], ["images differ in size (40x30 to 90x60), using 32x32"]),
    ],
)
def test_a_size_that_was_chosen_is_told(sizes: list[tuple[int, int]], said: list[str]) -> None:
    headers = [Header(height, width, True) for height, width in sizes]
    notes = inspection.sizes(headers, (32, 32))
    assert [note.split(";")[0] for note in notes] == said


def test_the_overview_is_one_line() -> None:
    labels = np.array([0, 0, 0, 1], np.int32)
    told = inspection.overview(
        ("a", "b"), labels, {"train": 2, "val": 1, "test": 1}, (8, 9, 3), "crop"
    )
    assert told == (
        "4 images of 2 classes (largest class a with 3, smallest b with 1): 2 train, 1 val, 1 test;"
        " size 8x9x3 (HxWxC), fit=crop"
    )
