"""Operators that int8 lacks, or that have several results, as operators that it has."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from pipeline.tflite import assembly
from pipeline.tflite.read import Operator, Tensor

NONE = np.array([], np.float32)  # scales of a tensor in float


def rewritten(operators: Iterable[Operator]) -> list[Operator]:
    """The same computation, one result an operator, without NEG and SQUARE.

    - NEG is a product with -1, SQUARE one with itself, which int8 has.
    - A tensor that is split, or unpacked along an axis, is cut once for every part.
    """
    return [one for op in operators for one in _instead(op)]


def _instead(op: Operator) -> Iterator[Operator]:
    """What an operator becomes; itself, where nothing has to change."""
    if op.name == "NEG":
        yield _made(op, "MUL", [op.inputs[0], _constant(op, "factor", [-1.0])], op.outputs[0])
    elif op.name == "SQUARE":
        yield _made(op, "MUL", [op.inputs[0], op.inputs[0]], op.outputs[0])
    elif op.name in ("SPLIT", "SPLIT_V", "UNPACK"):
        yield from _parts(op)
    else:
        yield op


def _parts(op: Operator) -> Iterator[Operator]:
    """A SLICE for each result; one that drops the axis is reshaped after it."""
    image, axis = _cut(op)
    start = 0
    for number, made in enumerate(op.outputs):
        side = 1 if op.name == "UNPACK" else made.shape[axis]
        shape = tuple(side if n == axis else length for n, length in enumerate(image.shape))
        first = [start if n == axis else 0 for n in range(len(shape))]
        ends = _constant(op, f"begin{number}", first), _constant(op, f"size{number}", shape)
        start += side
        part = made if shape == made.shape else _tensor(f"{made.name}/part", made.dtype, shape)
        yield _made(op, "SLICE", [image, *ends], part)
        if part is not made:
            yield _made(op, "RESHAPE", [part, _constant(op, f"shape{number}", made.shape)], made)


def _cut(op: Operator) -> tuple[Tensor, int]:
    """What an operator splits, and the axis; SPLIT reads the axis first, SPLIT_V last."""
    if op.name == "UNPACK":
        image, axis = op.inputs[0], op.options.axis
    else:
        image, place = (op.inputs[1], op.inputs[0]) if op.name == "SPLIT" else op.inputs[::2]
        axis = np.reshape(np.asarray(place.data), -1)[0]
    return image, int(axis) % len(image.shape)


def _made(op: Operator, name: str, reads: Sequence[Tensor], makes: Tensor) -> Operator:
    options = assembly.options(f"{name.capitalize()}Options")
    return Operator(op.index, name, tuple(reads), (makes,), options=options)


def _constant(op: Operator, name: str, numbers: Sequence[Any]) -> Tensor:
    data = np.asarray(numbers)
    data = data.astype(np.float32 if data.dtype.kind == "f" else np.int32)
    return _tensor(f"{op.outputs[0].name}/{name}", data.dtype.name.upper(), data.shape, data)


def _tensor(name: str, dtype: str, shape: tuple[int, ...], data: Any = None) -> Tensor:
    return Tensor(name, dtype, shape, data, NONE, NONE.astype(np.int64))
