"""The picture of training images: which there is, and how large it is."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.datasets import Dataset
from pipeline.train import augmented
from pipeline.train.settings import Settings


def test_there_is_no_picture_where_nothing_is_changed(few_digits: Dataset, tmp_path: Path) -> None:
    assert augmented.write(Settings(), few_digits, 0, tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(40, 8, 6, 1), (5, 100, 120, 3)])
def test_the_picture_has_four_rows_of_eight(shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).uniform(0, 255, shape)
    picture = np.asarray(Image.open(io.BytesIO(augmented.png(images))))
    times = max(1, -(-augmented.SIDE // max(shape[1:3])))
    height, width = (side * times + augmented.GAP for side in shape[1:3])
    assert picture.shape[:2] == (4 * height + augmented.GAP, 8 * width + augmented.GAP)
    pixel = picture[augmented.GAP, augmented.GAP + width]  # the first of the second image
    np.testing.assert_array_equal(pixel, np.round(images[1, 0, 0]).squeeze())
