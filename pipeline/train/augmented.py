"""Draw training images as the network sees them, to show at a glance what augmentation does."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.data.datasets import Dataset
from pipeline.system.files import write_atomic
from pipeline.train import inputs
from pipeline.train.settings import Settings

PICTURE = "augmented.png"
ROWS, COLUMNS = 4, 8
SIDE = 96  # least side of an image in the picture, pixels
GAP = 4  # between images, pixels
PAPER = 128  # grey level between images, 0..255


def write(settings: Settings, dataset: Dataset, seed: int, directory: Path) -> Path | None:
    """Write the picture into `directory`; None if augmentation leaves the images unchanged."""
    images = inputs.first_images(dataset, settings, seed, ROWS * COLUMNS)
    if images is None:
        return None
    path = directory / PICTURE
    write_atomic(path, png(images))
    return path


def png(images: npt.NDArray[Any]) -> bytes:
    """Arrange up to 32 images `[N, H, W, C]` in 0..255 in rows of eight."""
    height, width, channels = images.shape[1:]
    times = max(1, -(-SIDE // max(height, width)))  # a whole number, so that pixels stay squares
    big = np.clip(np.round(images), 0, 255).astype(np.uint8)
    big = big.repeat(times, axis=1).repeat(times, axis=2)
    tall, wide = height * times + GAP, width * times + GAP
    sheet = np.full((ROWS * tall + GAP, COLUMNS * wide + GAP, channels), PAPER, np.uint8)
    for place, image in enumerate(big[: ROWS * COLUMNS]):
        row, column = divmod(place, COLUMNS)
        top, left = GAP + row * tall, GAP + column * wide
        sheet[top : top + tall - GAP, left : left + wide - GAP] = image
    content = io.BytesIO()
    Image.fromarray(sheet[..., 0] if channels == 1 else sheet).save(content, "PNG")
    return content.getvalue()
