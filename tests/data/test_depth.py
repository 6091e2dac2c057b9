"""Pictures of more than 8 bits keep what they hold, whatever range they use."""

import io

import numpy as np
import pytest
from PIL import Image
from support.deep import deep_colours, png16, twelve_bits

from pipeline.data import depth, pictures


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_12_bits_in_a_picture_of_16_are_not_black(kind: str) -> None:
    image, file = twelve_bits(), io.BytesIO()
    image.save(file, kind)
    expected = np.rint(np.asarray(image) / 4095 * 255)
    assert pictures.header(file).deep
    assert depth.extremes(file)[1] == 4095
    assert (pictures.decode(file, (30, 40), 1)[..., 0] == expected).all()


@pytest.mark.parametrize(("bits", "channels"), [(12, 3), (12, 4), (10, 3), (16, 3)])
def test_colours_of_16_bits_keep_what_they_hold(bits: int, channels: int) -> None:
    file = io.BytesIO(deep_colours(bits, channels))
    values = np.random.default_rng(0).integers(0, 2**bits, (30, 40, channels))
    values[0, 0] = 2**bits - 1
    assert pictures.header(file).deep
    assert depth.extremes(file) == (values[..., :3].min(), 2**bits - 1)
    decoded = pictures.decode(file, (30, 40), 3)
    np.testing.assert_allclose(decoded, values[..., :3] / (2**bits - 1) * 255, atol=0.6)


def test_grey_of_16_bits_with_transparency_is_grey_and_not_black() -> None:
    values = np.full((8, 8, 2), 65535)
    values[..., 0] = np.linspace(0, 4095, 64).reshape(8, 8)
    file = io.BytesIO(png16(values))
    assert pictures.header(file).grey
    assert pictures.decode(file, (8, 8), 1).max() > 230


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 2047], [4095, 1000]], np.int32), [0, 127, 255, 62]),
        (np.array([[0, 0.5], [1, 0.25]], np.float32), [0, 128, 255, 64]),
        (np.array([[0, 100], [255, 50]], np.float32), [0, 100, 255, 50]),
        (np.array([[-1, 0], [1, 0.5]], np.float32), [0, 128, 255, 191]),
        (np.array([[0, 1], [1, 0]], np.uint16), [0, 255, 255, 0]),
    ],
)
def test_tiff_files_of_numbers_are_scaled(values: np.ndarray, expected: list[int]) -> None:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "TIFF")
    assert pictures.decode(file, (2, 2), 1).ravel().tolist() == expected


def test_levels_of_a_whole_data_set_keep_a_dark_picture_dark() -> None:
    dark = io.BytesIO(png16(np.full((4, 4, 1), 300)))
    assert pictures.decode(dark, (4, 4), 1, "crop", (0, 4095)).max() == 19


def test_values_that_are_no_numbers_are_unreadable() -> None:
    file = io.BytesIO()
    Image.fromarray(np.array([[0, np.nan]], np.float32)).save(file, "TIFF")
    with pytest.raises(pictures.UNREADABLE, match="no numbers"):
        depth.extremes(file)
