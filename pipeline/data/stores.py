"""Writers of decoded images: as one array on disk, or compressed within a budget of bytes."""

import json
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.data.packed import ENDS, FILES, PIXELS, encoded
from pipeline.data.pictures import Form
from pipeline.system import threads
from pipeline.system.files import write_atomic

IMAGES = "images.npy"
AHEAD = 32  # images that are compressed at once, hence in memory

Image8 = npt.NDArray[np.uint8]


class Whole:
    """One array [N, H, W, C] in a `.npy` file, to be opened as a memory map.

    Plain writes, not a memory map: on a full disk those fail as an error, a map kills the process.
    """

    def __init__(self, folder: Path, shape: tuple[int, int, int], count: int) -> None:
        """Begin; `count` is the most images that will come."""
        self._shape, self._count = shape, 0
        self._file = (folder / IMAGES).open("wb")
        self._begin(count)

    def _begin(self, count: int) -> None:
        # NumPy leaves room for the largest count, so that another one takes as many bytes
        about = {"descr": "|u1", "fortran_order": False, "shape": (count, *self._shape)}
        np.lib.format.write_array_header_1_0(self._file, about)

    def add(self, image: Image8) -> None:
        """Write the next image."""
        self._file.write(image.tobytes())
        self._count += 1

    def finish(self) -> None:
        """Write what remains."""
        self._file.seek(0)
        self._begin(self._count)
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class Packer:
    """The files of `data.packed.Packed`: compressed images as far as a budget of bytes reaches."""

    def __init__(self, folder: Path, form: Form, limit: int) -> None:
        """Begin; `form` has no field that is left open, and `limit` is in bytes."""
        self._folder, self._form, self._limit = folder, form, limit
        self._file = (folder / PIXELS).open("wb")
        self._pool = threads.pool()
        self._ahead: deque[Future[bytes]] = deque()
        self._ends: list[int] = []
        self._sizes: list[int] = []  # of all that were compressed
        self.full = False

    @property
    def size_bytes(self) -> int:
        """Bytes of the images that have been written."""
        return self._ends[-1] if self._ends else 0

    @property
    def held(self) -> int:
        """Number of images that have been written; after one that had no place, none has."""
        return len(self._ends)

    def add(self, image: Image8) -> None:
        """Compress the next image, and write it if it has a place."""
        if not self.full:
            self._ahead.append(self._pool.submit(encoded, image))
        if len(self._ahead) >= AHEAD:
            self._write(self._ahead.popleft().result())

    @property
    def average_bytes(self) -> float:
        """Bytes of a compressed image, written or not, on average."""
        return sum(self._sizes) / max(len(self._sizes), 1)

    def _write(self, data: bytes) -> None:
        self._sizes.append(len(data))
        self.full = self.full or self.size_bytes + len(data) > self._limit
        if not self.full:
            self._file.write(data)
            self._ends.append(self.size_bytes + len(data))

    def flush(self) -> None:
        """Write the images that are still being compressed."""
        while self._ahead:
            self._write(self._ahead.popleft().result())

    def finish(self, paths: Sequence[Path]) -> None:
        """Write what remains; `paths` are the files of the images that had no place."""
        self.flush()
        self._file.flush()
        os.fsync(self._file.fileno())
        np.save(self._folder / ENDS, np.array(self._ends, np.int64))
        size = self._form.size or (0, 0)
        about: dict[str, Any] = {
            "shape": [*size, self._form.channels],
            "fit": self._form.fit,
            "levels": self._form.levels,
            "paths": [str(path.absolute()) for path in paths],
        }
        write_atomic(self._folder / FILES, json.dumps(about) + "\n")

    def close(self) -> None:
        """Let go of the file and the threads."""
        self._pool.shutdown(cancel_futures=True)
        self._file.close()
