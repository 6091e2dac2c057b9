"""Read and write files of Keras models, or say why one cannot be read.

A `.keras` file that `save` writes has stock layers alone, so that it loads where Keras alone is
installed. Where the network has layers of our own, the file says so in a further member, from
which `load` makes them again.
"""

import json
import random
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from pipeline.errors import ModelError
from pipeline.graph import legacy_file, stock

SUFFIX = ".keras"
SUFFIXES = (SUFFIX, *legacy_file.SUFFIXES)
OWN = "flopsmith.json"  # member of a file: the network with our own layers
UNLOADABLE = (  # what Keras and h5py raise over a damaged file
    AttributeError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
)


def save(model: keras.Model, path: Path) -> None:
    """Write a model to a `.keras` file that loads with `keras.models.load_model` alone."""
    if not stock.needed(model):
        model.save(path)
        return
    with _same_draws():
        made = stock.of(model)
        made.model.save(path)
    member = {"model": json.loads(model.to_json()), "names": made.names}
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(OWN, json.dumps(member))


def load(path: Path | None) -> keras.Model:
    """Load a `.keras` file of ours, with the layers and the state that the saved model had.

    Raises:
        ValueError: there is no path: a stage left no model.
    """
    if path is None:
        raise ValueError("no model to load. Received: path=None")
    with zipfile.ZipFile(path) as archive:
        member = archive.read(OWN) if OWN in archive.namelist() else None
    if member is None:
        return keras.models.load_model(path, compile=False)
    with _same_draws():
        saved = keras.models.load_model(path, compile=False)
    told = json.loads(member)
    model = keras.models.model_from_json(json.dumps(told["model"]))
    stock.restored(model, stock.Stock(saved, tuple(told["names"])))
    return model


@contextmanager
def _same_draws() -> Iterator[None]:
    """Let layers that are made here take no random number from those that are made later."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def from_file(path: Path) -> keras.Model:
    """Load a `.keras` file, or a `.h5` file of Keras 2 or 3.

    Raises:
        ModelError: it is not one, or cannot be loaded, as one that would run code.
    """
    if legacy_file.is_legacy(path):
        return legacy_file.from_file(path)
    if not zipfile.is_zipfile(path):
        reason = "not a .keras file" if path.exists() else "no such file"
        raise ModelError(f"{reason}. Received: {path}. Expected: a model saved by Keras 3")
    try:
        return load(path)
    except UNLOADABLE as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        found = _foreign(path) or f"Keras cannot load it: {reason}"
        raise ModelError(f"{path}: {found}") from error


def _foreign(path: Path) -> str | None:
    """Say which layer of a `.keras` file Keras does not load, and what to do; None: not known."""
    try:
        with zipfile.ZipFile(path) as archive:
            whole = json.loads(archive.read("config.json"))
        if not _is_known(whole):
            return (
                f"the model cannot be loaded. Received: {whole['class_name']}, a class of your own "
                "that Keras does not have. Build the network as keras.Model(inputs, outputs) of "
                "layers of Keras, and save it again"
            )
        return next(filter(None, map(_refusal, _listed(whole))), None)
    except UNLOADABLE:  # damaged
        return None


def _listed(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The layers of a model's configuration, and of those inside it."""
    for layer in config["config"].get("layers", ()):
        yield layer
        yield from _listed(layer)


def _is_known(layer: dict[str, Any]) -> bool:
    name = str(layer.get("registered_name") or layer["class_name"])
    known = keras.saving.get_registered_object(name)
    return known is not None or str(layer.get("module")).startswith("keras")


def _refusal(layer: dict[str, Any]) -> str | None:
    kind, name = layer["class_name"], layer["config"]["name"]
    received = None
    if kind == "Lambda":
        received = "Lambda, code that Keras does not run from a file"
    elif not _is_known(layer):
        received = f"{kind}, a class that Keras does not have"
    if received is None:
        return None
    return (
        f"layer {name!r} cannot be loaded. Received: {received}. Use layers of Keras, and "
        "operations on tensors such as `x * 2` or those of keras.ops, instead"
    )
