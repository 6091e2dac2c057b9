"""Read a PyTorch state dict, as files of 2018 to 2020 hold it, without PyTorch.

Such a file is a row of pickles (magic number, protocol, facts about the machine, the state dict,
the keys of its storages) and then, per storage, an int64 count and the raw numbers.

The pickles are not loaded but read: a pickle is a program that may call anything, so its steps
are followed here by a machine that calls nothing. It knows the tensors of a state dict by name and
refuses every other name.

Source: `torch.serialization._legacy_load`, https://github.com/pytorch/pytorch.
"""

import io
import pickletools
import sys
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ModelError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
ZIP = b"PK\x03\x04"
DICT, TENSOR = "collections.OrderedDict", "torch._utils._rebuild_tensor_v2"
STORAGES = {
    "torch.HalfStorage": "<f2",
    "torch.FloatStorage": "<f4",
    "torch.DoubleStorage": "<f8",
    "torch.IntStorage": "<i4",
    "torch.LongStorage": "<i8",
}
MOST_SIDES = 8  # of a tensor
NAMES = ("GLOBAL", "INST")  # steps that look up a name of a module
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
NUMBERS = ("BININT", "BININT1", "BININT2", "BINFLOAT", "LONG1", "INT", "LONG")
TEXTS = ("BINUNICODE", "SHORT_BINUNICODE", "UNICODE")
SMALL_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(frozen=True)
class Name:
    """A class or function that a pickle names; it is never imported."""

    path: str


@dataclass(frozen=True)
class Storage:
    """A row of numbers that tensors are views of."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class View:
    """A tensor: where in a storage it starts, its sides, and the distance of their neighbours."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(path: Path) -> dict[str, np.ndarray]:
    """Read the tensors of a state dict by name.

    Args:
        path: A file that `torch.save(model.state_dict(), path)` wrote before PyTorch 1.6.

    Raises:
        ModelError: it is no such file, is cut off, or would run code; says which.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read the weights. Received: {path} ({error.strerror})") from error
    try:
        return _state(io.BytesIO(content), len(content))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _state(file: io.BytesIO, length: int) -> dict[str, np.ndarray]:
    if file.getvalue()[: len(ZIP)] == ZIP:
        raise ModelError(
            "not a legacy PyTorch file. Received: the zip format of PyTorch 1.6 and later. Save it "
            "again with torch.save(..., _use_new_zipfile_serialization=False)"
        )
    magic, protocol, machine = (_pickle(file) for _ in range(3))
    if (magic, protocol) != (MAGIC, PROTOCOL) or not isinstance(machine, dict):
        raise ModelError(
            "not a legacy PyTorch file. Received: another magic number or protocol. Expected: a "
            "state dict saved by PyTorch before 1.6"
        )
    if machine.get("little_endian") is not True:
        raise ModelError("the weights were saved on a big-endian machine. Save them on another")
    state, keys = _pickle(file), _pickle(file)
    if not isinstance(state, dict) or not isinstance(keys, list):
        raise ModelError(f"not a state dict. Received: {type(state).__name__}. Save one")
    strangers = [key for key, value in state.items() if not isinstance(value, View)]
    if strangers:
        first = str(strangers[0])[:100]
        raise ModelError(f"not a state dict of tensors. Received: {first!r} among them. Save one")
    storages = {view.storage.key: view.storage for view in state.values()}
    numbers = {key: _numbers(file, storages.get(key), length) for key in keys}
    return {name: _tensor(name, view, numbers) for name, view in state.items()}


def _numbers(file: io.BytesIO, storage: Storage | None, length: int) -> np.ndarray:
    """The next storage of the file."""
    if storage is None:
        raise ModelError("the list of storages names one of no tensor. Get the file again")
    count = int.from_bytes(file.read(8), "little", signed=True)
    size = count * np.dtype(storage.dtype).itemsize
    if count != storage.count or size > length - file.tell():
        raise ModelError(
            f"the weights are cut off or damaged. Received: storage {storage.key[:100]!r} of "
            f"{storage.count} numbers, with {length - file.tell()} bytes left. Get the file again"
        )
    return np.frombuffer(file.read(size), storage.dtype)


def _tensor(name: str, view: View, numbers: Mapping[str, np.ndarray]) -> np.ndarray:
    """Copy a tensor out of its storage."""
    row = numbers.get(view.storage.key)
    sides = list(zip(view.shape, view.strides, strict=True))
    last = view.offset + sum((n - 1) * stride for n, stride in sides)
    # no more values than the storage has: a stride of 0 would make any number of few
    if row is None or not 0 < prod(view.shape) <= len(row) or last >= len(row):
        raise ModelError(
            f"a tensor reaches beyond its storage. Received: {name[:100]!r} with "
            f"shape={view.shape[:8]}, strides={view.strides[:8]}, offset={view.offset}. "
            "Get the file again"
        )
    steps = [stride * row.itemsize if n > 1 else 0 for n, stride in sides]
    return np.lib.stride_tricks.as_strided(row[view.offset :], view.shape, steps).copy()


def _pickle(file: io.BytesIO) -> Any:
    """Follow the steps of the next pickle to the value that it stands for."""
    machine = _Machine()
    try:
        for step, argument, _ in pickletools.genops(file):
            if step.name == "STOP":
                return machine.stack.pop()
            machine.step(step.name, argument)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, EOFError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(
            "not a legacy PyTorch file, or one that is cut off or damaged. "
            f"Received: a pickle that ends or errs ({error}). Get the file again"
        ) from error
    raise ModelError("not a legacy PyTorch file. Received: a pickle without an end")


class _Machine:
    """The stack and memo of a pickle, for the steps that a state dict takes."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._marks: list[int] = []  # places of the stack
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Take one step.

        Raises:
            ModelError: a step that no state dict takes, or a name that it does not need.
        """
        if name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in (*NUMBERS, *TEXTS):
            self.stack.append(argument)
        elif name in NAMES:
            self.stack.append(_known(".".join(argument.split(" "))))
        elif name == "STACK_GLOBAL":
            self.stack.append(_known(".".join(map(str, self.stack[-2:]))))
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self._memo[len(self._memo) if name == "MEMOIZE" else argument] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self._memo[argument])
        elif name not in ("PROTO", "FRAME"):
            self._combine(name)

    def _combine(self, name: str) -> None:
        """Take a step that makes one value of several."""
        stack = self.stack
        if name == "MARK":
            self._marks.append(len(stack))
        elif name in ("EMPTY_DICT", "EMPTY_LIST"):
            stack.append({} if name == "EMPTY_DICT" else [])
        elif name in SMALL_TUPLES:
            count = SMALL_TUPLES[name]
            stack.append(tuple(stack.pop() for _ in range(count))[::-1])
        elif name == "TUPLE":
            stack.append(tuple(self._marked()))
        elif name in ("SETITEM", "SETITEMS"):
            items = self._marked() if name == "SETITEMS" else [stack.pop(), stack.pop()][::-1]
            stack[-1].update(zip(map(_text, items[::2]), items[1::2], strict=True))
        elif name in ("APPEND", "APPENDS"):
            items = self._marked() if name == "APPENDS" else [stack.pop()]
            stack[-1].extend(map(_text, items))
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif name == "REDUCE":
            arguments, called = stack.pop(), stack.pop()
            stack.append(_called(called, arguments))
        elif name == "BUILD":
            stack.pop()  # attributes of the dict: the version of each module
        else:
            raise ModelError(
                "not a legacy PyTorch file of a state dict alone. "
                f"Received: a pickle with step={name}"
            )

    def _marked(self) -> list[Any]:
        """Pop what lies above the last mark."""
        place = self._marks.pop()
        taken = self.stack[place:]
        del self.stack[place:]
        return taken


def _text(value: Any) -> str:
    """A key, or an entry of the list of keys; they nest nothing, however hostile the file."""
    if not isinstance(value, str):
        raise ModelError(f"not a state dict. Received: a key of {type(value).__name__}. Save one")
    return value


def _known(path: str) -> Name:
    if path not in (DICT, TENSOR, *STORAGES):
        raise ModelError(
            f"a pickle that would run code is refused. Received: class={path[:100]}. Known: "
            f"{', '.join((DICT, TENSOR, *STORAGES))}. Save the state dict alone"
        )
    return Name(path)


def _called(called: Any, arguments: Any) -> Any:
    """What a call of one of the two known functions stands for."""
    if called == Name(DICT) and arguments == ():
        return OrderedDict()
    if called != Name(TENSOR) or not isinstance(arguments, tuple) or len(arguments) < 4:
        raise ModelError("a call that no state dict makes. Received: other arguments or function")
    storage, offset, shape, strides = arguments[:4]
    counts = (offset, *shape, *strides)
    whole = all(type(count) is int and 0 <= count <= sys.maxsize for count in counts)
    fits = len(shape) == len(strides) <= MOST_SIDES
    if not isinstance(storage, Storage) or not whole or not fits:
        raise ModelError("a tensor that cannot be. Received: no storage, or a shape of no counts")
    return View(storage, offset, tuple(shape), tuple(strides))


def _storage(described: Any) -> Storage:
    kind, dtype, key, _, count, view = described
    if kind != "storage" or view is not None or type(count) is not int or count < 0:
        raise ModelError("a storage that cannot be. Received: another kind, count or a view")
    return Storage(_text(key), STORAGES[dtype.path], count)
