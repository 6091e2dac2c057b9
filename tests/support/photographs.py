"""Pictures of classes that tests tell apart by their pixels, written as files of any kind."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 40  # pixels


def picture(label: int, number: int = 0, size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    """A picture whose red is 10 times the class, whose green is its number, with noise in blue."""
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = 10 * label % 256, number
    pixels[..., 2] = np.random.default_rng(number).integers(0, 256, size, np.uint8)
    return Image.fromarray(pixels)


def encoded(label: int, number: int = 0, kind: str = "PNG") -> bytes:
    """The same as the bytes of a file."""
    stream = io.BytesIO()
    picture(label, number).save(stream, kind)
    return stream.getvalue()


def write(path: Path, label: int, number: int = 0) -> Path:
    """The same as a file, of the kind that its suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(label, number).save(path)
    return path


def cut(path: Path) -> None:
    """Take the last tenth of a file away."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])
