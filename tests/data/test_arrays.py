"""Images in the forms that people keep them in become the same pixels, and it is said."""

from typing import Any

import numpy as np
import pytest

import flopsmith
from pipeline.data import arrays
from pipeline.data.cache import Contents
from pipeline.data.pictures import Form
from pipeline.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 8, 10, 3), np.uint8)
PIXELS[0, 0, 0] = (0, 128, 255)
LABELS = np.arange(12) % 3


def read(images: Any, labels: Any = LABELS, **more: Any) -> Contents:
    return arrays.read({"x_train": images, "y_train": labels, **more}, "a.npz", Form())


def pixels(contents: Contents) -> np.ndarray:
    return np.stack(list(contents.images(None)))


def refused(images: Any, **more: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(images, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (PIXELS, ""),
        (PIXELS.astype(np.int64), ""),
        (PIXELS.astype(np.float32), ""),
        (PIXELS / 255, "floats in 0..1, multiplied by 255"),
        ((PIXELS / 255).astype(np.float32), "floats in 0..1"),
        (PIXELS / 127.5 - 1, "floats in -1..1, brought to 0..255"),
        ((PIXELS / 127.5 - 1).astype(np.float32), "floats in -1..1"),
        ((PIXELS.astype(np.int16) - 128).astype(np.int8), "int8 from -128 to 127"),
        (PIXELS.transpose(0, 3, 1, 2), "x_train: channels come first, [12, 3, 8, 10]"),
        (PIXELS.transpose(0, 3, 1, 2) / 255, "channels come first"),
        (PIXELS.astype(np.uint16) * 257, "more than 8 bits per value: 0 becomes 0, 65535"),
    ],
)
def test_every_form_gives_the_same_pixels_and_says_so(images: np.ndarray, said: str) -> None:
    contents = read(images)
    assert contents.shape == (8, 10, 3)
    assert (pixels(contents) == PIXELS).all()
    assert said in "; ".join(contents.notes)
    assert bool(contents.notes) == bool(said)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64])
def test_black_and_white_images_are_not_left_black(kind: type) -> None:
    masks = (PIXELS[..., 0] > 127).astype(kind)
    contents = read(masks)
    assert set(np.unique(pixels(contents))) == {0, 255}
    assert "0 and 1, which become 0 and 255" in contents.notes[0]


def test_12_bits_in_an_array_of_16_are_not_black() -> None:
    contents = read(np.full((12, 8, 8), 4000, np.uint16))
    assert set(np.unique(pixels(contents))) == {249}
    assert contents.levels == (0, 4095)


def test_all_parts_are_scaled_alike() -> None:
    dark = np.full((3, 8, 8), 200, np.uint16)
    contents = read(np.full((12, 8, 8), 4095, np.uint16), x_test=dark, y_test=np.arange(3))
    assert pixels(contents)[-1].max() == 12


def test_images_of_a_list_of_arrays_are_put_together() -> None:
    given = np.empty(12, object)
    given[:] = list(PIXELS)
    contents = read(given)
    assert (pixels(contents) == PIXELS).all()
    assert "an array of 12 arrays" in contents.notes[0]


def test_some_rows_are_made_without_the_others() -> None:
    some = np.stack(list(read(PIXELS).images([1, 5])))
    assert (some == PIXELS[[1, 5]]).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_convert_and_say_so(channels: int) -> None:
    given = PIXELS if channels == 1 else PIXELS[..., 0]
    contents = arrays.read({"x_train": given, "y_train": LABELS}, "a", Form(channels=channels))
    assert pixels(contents).shape == (12, 8, 10, channels)
    assert "become grey" in contents.notes[0] or "become RGB" in contents.notes[0]


@pytest.mark.parametrize(
    ("images", "what"),
    [
        (np.zeros((12, 8, 8, 4), np.uint8), "Drop the alpha channel"),
        (np.zeros((12, 4, 8, 8), np.uint8), "Drop the alpha channel"),
        (np.zeros((12, 8, 8, 2), np.uint8), "Keep one of two channels"),
        (np.zeros((12, 64), np.uint8), "Give it the shape [N, H, W]"),
        (np.random.default_rng(0).normal(0, 1, (12, 8, 8)), "without standardising them"),
        (np.full((12, 8, 8), -0.4), "without standardising them"),
        (np.full((12, 8, 8), 1000.0), "no pixels"),
        (np.full((12, 8, 8), 1j), "no pixels"),
        (np.full((12, 8, 8), -300, np.int16), "no pixels"),
    ],
)
def test_what_is_not_clear_is_refused(images: np.ndarray, what: str) -> None:
    assert what in refused(images)


def test_images_that_differ_in_shape_are_refused() -> None:
    given = np.empty(2, object)
    given[:] = [np.zeros((8, 8)), np.zeros((9, 8))]
    assert "they differ in shape" in refused(given)


@pytest.mark.parametrize("other", [PIXELS[:3] / 255, PIXELS[:3, :4], PIXELS[:3] / 127.5 - 1])
def test_parts_that_are_not_alike_are_refused(other: np.ndarray) -> None:
    message = refused(PIXELS, x_test=other, y_test=np.arange(3))
    assert "x_train and x_test differ in shape or range" in message


def test_load_data_takes_the_same_forms_and_keeps_the_notes() -> None:
    names = np.array(["ant", "bee", "cow"])[LABELS]
    data = flopsmith.load_data((PIXELS.transpose(0, 3, 1, 2) / 127.5 - 1, names))
    assert data.class_names == ("ant", "bee", "cow")
    assert (data.train.images == PIXELS).all()
    assert len(data.notes) == 3


def test_load_data_takes_size_channels_and_fit() -> None:
    data = flopsmith.load_data((PIXELS, LABELS), image_size=(16, 12), channels=1, fit="stretch")
    assert data.image_shape == (16, 12, 1)
    assert (data.form.size, data.form.fit) == ((16, 12), "stretch")
