"""Which pixels a float `.tflite` of whatever origin takes, as its own metadata states it.

The metadata is a flatbuffer, https://ai.google.dev/edge/litert/conversion/tensorflow/metadata; it
is read here by the slots of the published schema (1.5.0), as `metadata` writes it.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import ModelError
from pipeline.tflite import write
from pipeline.tflite.metadata import NORMALIZATION
from pipeline.tflite.read import Graph


def stated(graph: Graph) -> tuple[Any, Any] | None:
    """Mean and standard deviation that the file itself states for its image.

    They are numbers, or arrays with a number per channel: `(pixel - mean) / std` is what the model
    wants of pixels in 0..255. None where the file states none.

    Raises:
        ModelError: there is metadata, and it cannot be read.
    """
    note = graph.metadata.get(write.METADATA)
    if note is None:
        return None
    try:
        found = _normalization(bytes(note))
    except (struct.error, IndexError, TypeError, ValueError) as error:
        raise ModelError(
            f"the metadata of the model cannot be read. Received: {len(note)} bytes ({error}). "
            "Write it again, or leave it out"
        ) from error
    if found is None:
        return None
    mean, std = found
    channels = graph.inputs[0].shape[-1]
    if any(len(one) not in (1, channels) for one in found) or not np.all(np.abs(std) > 0):
        raise ModelError(
            f"the metadata of the model does not fit it. Received: mean={mean}, std={std} for "
            f"{channels} channels. Write it again, or leave it out"
        )
    return np.asarray(mean, np.float32), np.asarray(std, np.float32)


def _normalization(note: bytes) -> tuple[list[float], list[float]] | None:
    """The numbers of the first image that has some, by the slots of the schema."""
    root = _Table.root(note)
    for subgraph in root.tables(3)[:1]:
        for tensor in subgraph.tables(2)[:1]:
            for unit in tensor.tables(4):
                options = unit.table(1)
                if unit.byte(0) == NORMALIZATION and options is not None:
                    return options.floats(0) or [0.0], options.floats(1) or [1.0]
    return None


@dataclass(frozen=True)
class _Table:
    """A table of a flatbuffer, read by the numbers of its slots."""

    content: bytes
    place: int

    @classmethod
    def root(cls, content: bytes) -> "_Table":
        return cls(content, cls._number("<I", content, 0))

    @staticmethod
    def _number(kind: str, content: bytes, place: int) -> int:
        if place < 0:
            raise ValueError("a place before the first byte")
        return int(struct.unpack_from(kind, content, place)[0])

    def _slot(self, slot: int) -> int | None:
        """Where a field is; None where it has its default."""
        to_fields = self.place - self._number("<i", self.content, self.place)
        if 4 + 2 * slot >= self._number("<H", self.content, to_fields):
            return None
        offset = self._number("<H", self.content, to_fields + 4 + 2 * slot)
        return self.place + offset if offset else None

    def _target(self, place: int) -> int:
        return place + self._number("<I", self.content, place)

    def byte(self, slot: int) -> int:
        place = self._slot(slot)
        return 0 if place is None else self._number("<B", self.content, place)

    def table(self, slot: int) -> "_Table | None":
        place = self._slot(slot)
        return None if place is None else _Table(self.content, self._target(place))

    def _vector(self, slot: int) -> tuple[int, int]:
        """Where the items of a vector begin, and how many there are."""
        place = self._slot(slot)
        if place is None:
            return 0, 0
        start = self._target(place)
        count = self._number("<I", self.content, start)
        if count > len(self.content):
            raise ValueError(f"a vector of {count} items")
        return start + 4, count

    def tables(self, slot: int) -> list["_Table"]:
        start, count = self._vector(slot)
        return [_Table(self.content, self._target(start + 4 * n)) for n in range(count)]

    def floats(self, slot: int) -> list[float]:
        start, count = self._vector(slot)
        return list(struct.unpack_from(f"<{count}f", self.content, start))
