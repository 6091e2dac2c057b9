"""What is said of pictures that cannot be read."""

from pathlib import Path

import numpy as np
import pytest
from PIL import UnidentifiedImageError

from pipeline.data import unreadable
from pipeline.data.unreadable import Unreadable
from pipeline.errors import DataError

MANY = [Unreadable(f"{number}.jpg", "the file is empty") for number in range(7)]


def test_the_reason_is_what_a_person_would_say(tmp_path: Path) -> None:
    empty, text = tmp_path / "empty", tmp_path / "text"
    empty.touch()
    text.write_text("no picture")
    reasons = [
        unreadable.of("x", file, error).why
        for file, error in (
            (tmp_path / "none", FileNotFoundError()),
            (tmp_path, IsADirectoryError()),
            (empty, UnidentifiedImageError()),
            (b"", UnidentifiedImageError()),
            (text, UnidentifiedImageError()),
            (b"GIF", OSError("image file is\n truncated.")),
            (b"GIF", IndexError()),
        )
    ]
    assert reasons == [
        "there is no such file",
        "it is a folder",
        "the file is empty",
        "the file is empty",
        "it is no picture of a known kind, whatever its name says",
        "image file is truncated",
        "IndexError",
    ]


def test_one_is_named_and_of_many_the_first_and_their_number() -> None:
    assert str(unreadable.refusal(MANY[:1])).startswith(
        "an image cannot be read: the file is empty. Received: file=0.jpg. Repair or remove it; "
        "in a recipe, data.skip_unreadable=true"
    )
    assert str(unreadable.refusal(MANY)).startswith(
        "7 images cannot be read. Received: files=0.jpg"
    )
    assert "4.jpg (the file is empty) and 2 more. Repair" in str(unreadable.refusal(MANY))
    assert unreadable.skipped(MANY[:1]).startswith("left out 1 image that cannot be read: 0.jpg")
    assert unreadable.skipped(MANY).endswith("4.jpg (the file is empty) and 2 more")


def test_only_a_class_that_had_images_can_lose_them_all() -> None:
    before, after = np.array([0, 0, 1], np.int32), np.array([0, 1], np.int32)
    unreadable.check_classes(before, after, "abc", MANY)
    with pytest.raises(DataError, match="no image can be read of the class b"):
        unreadable.check_classes(before, after[:1], "abc", MANY)
