"""Reading PyTorch's legacy files: exact, and nothing in a file can run or exhaust memory."""

import io
import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import ModelError
from pipeline.pretrained import torch_pickle

SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}


class Global:
    """Pickles as a name of a module, whether or not that is installed."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Call:
    """Pickles as a call."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.function, self.args = function, args


class Stored:
    """Pickles as a storage, by a persistent id."""

    def __init__(self, key: str, count: int, kind: str = "FloatStorage", view: Any = None) -> None:
        self.id = ("storage", Global("torch", kind), key, "cpu", count, view)


class Writer(pickle._Pickler):  # type: ignore[name-defined,misc]
    """Writes what PyTorch would, without PyTorch."""

    def persistent_id(self, value: Any) -> Any:
        return value.id if isinstance(value, Stored) else None

    def save(self, value: Any, save_persistent_id: bool = True) -> None:
        if isinstance(value, Global):
            self.write(f"c{value.module}\n{value.name}\n".encode())
        elif isinstance(value, Call):
            self.save(value.function)
            self.save(value.args)
            self.write(pickle.REDUCE)
        else:
            super().save(value, save_persistent_id)


def pickled(value: Any) -> bytes:
    file = io.BytesIO()
    Writer(file, 2).dump(value)
    return file.getvalue()


def tensor(storage: Stored, shape: Any, strides: Any, offset: Any = 0) -> Call:
    rebuild = Global("torch._utils", "_rebuild_tensor_v2")
    return Call(rebuild, storage, offset, shape, strides, False, OrderedDict())


def written(state: Any, storages: dict[str, np.ndarray], **changes: Any) -> bytes:
    head = {"magic": torch_pickle.MAGIC, "protocol": 1001, "system": SYSTEM} | changes
    parts = [pickled(head[key]) for key in ("magic", "protocol", "system")]
    parts += [pickled(state), pickled(list(storages))]
    for values in storages.values():
        parts += [struct.pack("<q", values.size), values.tobytes()]
    return b"".join(parts)


def read(content: bytes, place: Path) -> dict[str, np.ndarray]:
    path = place / "weights.pth"
    path.write_bytes(content)
    return torch_pickle.read(path)


NUMBERS = np.arange(6, dtype="<f4")


def one(**changes: Any) -> bytes:
    """A file of one tensor, or with another view of its storage."""
    view = {"shape": (2, 3), "strides": (3, 1), "offset": 0} | changes
    return written({"w": tensor(Stored("a", 6), **view)}, {"a": NUMBERS})


def test_tensors_are_read_by_name(tmp_path: Path) -> None:
    state = OrderedDict(
        w=tensor(Stored("a", 6), (2, 3), (3, 1)),
        transposed=tensor(Stored("a", 6), (3, 2), (1, 3)),
        last=tensor(Stored("a", 6), (2,), (1,), 4),
        steps=tensor(Stored("b", 1, "LongStorage"), (), ()),
        half=tensor(Stored("c", 2, "HalfStorage"), (2,), (1,)),
    )
    storages = {"b": np.array([7], "<i8"), "a": NUMBERS, "c": np.array([0.5, 2], "<f2")}
    found = read(written(state, storages), tmp_path)
    assert list(found) == ["w", "transposed", "last", "steps", "half"]
    np.testing.assert_array_equal(found["w"], NUMBERS.reshape(2, 3))
    np.testing.assert_array_equal(found["transposed"], NUMBERS.reshape(2, 3).T)
    np.testing.assert_array_equal(found["last"], [4, 5])
    assert (found["steps"].shape, int(found["steps"])) == ((), 7)
    assert found["half"].tolist() == [0.5, 2]


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("builtins", "eval"), ("torch", "load"), ("posix", "system")],
)
def test_a_pickle_that_would_run_code_is_refused_by_name(
    module: str, name: str, tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    state = {"w": Call(Global(module, name), f"touch {mark}")}
    with pytest.raises(ModelError, match=rf"run code is refused.*class={module}\.{name}\."):
        read(written(state, {}), tmp_path)
    assert not mark.exists()


class Runs:
    """An object whose pickle runs a command."""

    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_pickle_of_any_protocol_that_would_run_code_is_refused(
    protocol: int, tmp_path: Path
) -> None:
    head = b"".join(pickled(v) for v in (torch_pickle.MAGIC, 1001, SYSTEM))
    with pytest.raises(ModelError, match=r"class=(posix|nt)\.system|step=DICT"):
        read(head + pickle.dumps({"w": Runs()}, protocol), tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": (2, 4)},
        {"offset": 1},
        {"strides": (4, 1)},
        {"shape": (10**6, 10**6), "strides": (0, 0)},
        {"shape": (2**62, 1), "strides": (1, 1)},
        {"shape": (0, 2**62), "strides": (1, 1)},
    ],
    ids=str,
)
def test_a_tensor_beyond_its_storage_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"reaches beyond its storage\. Received: 'w'"):
        read(one(**changes), tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"offset": -1},
        {"strides": (-3, 1)},
        {"shape": (2.0, 3)},
        {"shape": (2, 3, 1)},
        {"shape": "ab"},
        {"shape": (1,) * 80, "strides": (1,) * 80},
        {"offset": 10**30},
    ],
    ids=str,
)
def test_a_tensor_that_cannot_be_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="a tensor that cannot be"):
        read(one(**changes), tmp_path)


def test_a_size_that_the_file_does_not_have_is_refused_without_making_room(tmp_path: Path) -> None:
    state = {"w": tensor(Stored("a", 2**60), (2**60,), (1,))}
    content = written(state, {"a": NUMBERS})
    count = struct.pack("<q", 6)
    with pytest.raises(ModelError, match="cut off or damaged"):
        read(content.replace(count, struct.pack("<q", 2**60)), tmp_path)


def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    content = one()
    for length in range(len(content)):
        with pytest.raises(ModelError, match=r"weights.pth: "):
            read(content[:length], tmp_path)
    assert len(read(content, tmp_path)) == 1


def test_a_file_of_damaged_bytes_is_an_error_or_read_but_never_a_crash(tmp_path: Path) -> None:
    rng, content = np.random.default_rng(0), bytearray(one())
    for _ in range(500):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 3):
            damaged[place] = rng.integers(256)
        try:
            read(bytes(damaged), tmp_path)
        except ModelError:
            continue


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PK\x03\x04 and more", "_use_new_zipfile_serialization=False"),
        (b"", "not a legacy PyTorch file"),
        (b"\x89PNG\r\n", "not a legacy PyTorch file"),
        (written({}, {}, magic=1), "another magic number"),
        (written({}, {}, protocol=1000), "another magic number or protocol"),
        (written({}, {}, system={**SYSTEM, "little_endian": False}), "big-endian"),
        (written([1], {}), "not a state dict"),
        (written({"epoch": 3}, {}), "'epoch' among them"),
        (written({3: 3}, {}), "a key of int"),
        (written({}, {"a": NUMBERS}), "one of no tensor"),
        (written({"w": tensor(Stored("a", 6), (6,), (1,))}, {}), "beyond its storage"),
        (written({"w": tensor(Stored("a", 6, view=("b", 0, 6)), (6,), (1,))}, {}), "storage that"),
        (written({"w": Call(Global("collections", "OrderedDict"), ["x"])}, {}), "a call that no"),
    ],
    ids=range(13),
)
def test_what_is_no_legacy_state_dict_is_refused_with_the_reason(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=reason):
        read(content, tmp_path)


def test_a_pickle_that_nests_without_end_is_refused(tmp_path: Path) -> None:
    head = b"".join(pickled(v) for v in (torch_pickle.MAGIC, 1001, SYSTEM))
    deep = b"\x80\x02}N" + b"\x85" * 200_000 + b"Ns."  # a key of 200,000 tuples
    with pytest.raises(ModelError, match="a key of tuple"):
        read(head + deep, tmp_path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        torch_pickle.read(tmp_path / "none.pth")
