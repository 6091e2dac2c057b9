"""Images that are kept compressed, without loss, and decoded each time that they are used.

A picture that found no place in the budget of the cache is decoded from its own file instead. An
object of `Packed` is indexed as the array `[N, H, W, C]` that it stands for.
"""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.data import pictures
from pipeline.data.pictures import Form
from pipeline.errors import DataError
from pipeline.system import threads

PIXELS, ENDS, FILES = "packed.bin", "ends.npy", "files.json"
FEW = 4  # images that are decoded faster than threads start

Image8 = npt.NDArray[np.uint8]


def encoded(image: Image8) -> bytes:
    """Compress an image [H, W, C] without loss: lossless WebP, in its fastest way.

    >>> image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    >>> bool((decoded(encoded(image), 3) == image).all())
    True
    """
    plane = image[..., 0] if image.shape[2] == 1 else image
    stream = io.BytesIO()
    Image.fromarray(plane).save(stream, "WEBP", lossless=True, method=0, quality=0)
    return stream.getvalue()


def decoded(data: bytes, channels: int) -> Image8:
    """What `encoded` compressed."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"), np.uint8)[..., :channels]


class Packed:
    """Images on disk in the place of an array; pickled as the name of their folder."""

    def __init__(self, folder: Path) -> None:
        """Open what `data.stores.Packer` wrote; raises OSError, ValueError or KeyError."""
        self.folder = folder
        about = json.loads((folder / FILES).read_text(encoding="utf-8"))
        self._ends = np.load(folder / ENDS)
        self._paths: list[str] = about["paths"]
        levels = tuple(about["levels"]) if about["levels"] else None
        height, width, channels = about["shape"]
        self._form = Form((height, width), channels, about["fit"], levels)
        self.shape = (len(self._ends) + len(self._paths), height, width, channels)
        self.dtype = np.dtype(np.uint8)
        self.ndim = 4
        held = (folder / PIXELS).stat().st_size
        if held != (self._ends[-1] if len(self._ends) else 0):
            raise ValueError("the file of the images is not whole")
        self._data = np.memmap(folder / PIXELS, np.uint8, "r") if held else np.empty(0, np.uint8)

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape))

    def __reduce__(self) -> Any:
        return Packed, (self.folder,)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Image8:
        """Index as an array: by a row, a slice, rows or a mask, and further along the axes."""
        first, *rest = key if isinstance(key, tuple) else (key,)
        if first is Ellipsis or first is None:
            raise IndexError(f"images are indexed by rows first. Received: {first!r}")
        chosen = np.arange(len(self))[first]
        found = self.take(np.ravel(chosen)).reshape(*np.shape(chosen), *self.shape[1:])
        return np.asarray(found[(*[slice(None)] * np.ndim(chosen), *rest)])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """All images in memory."""
        return self.take(np.arange(len(self))).astype(dtype or np.uint8, copy=False)

    def take(self, rows: npt.NDArray[np.integer[Any]], axis: int = 0) -> Image8:
        """Decode the images of some rows, by several threads: [n, H, W, C]."""
        if axis != 0:
            raise IndexError(f"images are taken by rows. Received: axis={axis}")
        made = np.empty((len(rows), *self.shape[1:]), np.uint8)

        def put(place: int) -> None:
            made[place] = self._image(int(rows[place]))

        if len(rows) <= FEW:
            for place in range(len(rows)):
                put(place)
            return made
        with threads.pool() as pool:
            list(pool.map(put, range(len(rows))))
        return made

    def _image(self, row: int) -> Image8:
        row += len(self) if row < 0 else 0
        if row < len(self._ends):
            start = int(self._ends[row - 1]) if row else 0
            return decoded(self._data[start : self._ends[row]].tobytes(), self.shape[3])
        path = Path(self._paths[row - len(self._ends)])
        form = self._form
        try:
            return pictures.decode(path, self.shape[1:3], self.shape[3], form.fit, form.levels)
        except pictures.UNREADABLE as error:
            raise DataError(
                f"an image can no longer be read: {error}. Received: file={path}. It is not kept "
                "in the cache, which is full: leave it there, or raise data.cache"
            ) from error


Images = npt.NDArray[Any] | Packed
