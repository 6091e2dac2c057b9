"""Read a `.keras` file, or say why it cannot be read."""

import json
import zipfile
from pathlib import Path

import keras

from pipeline.errors import ModelError
from search_spaces import layers as own_layers

SUFFIX = ".keras"
UNLOADABLE = (  # what Keras and h5py raise over a damaged file
    AttributeError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
)
REGISTERED = own_layers  # its import lets Keras load our own layers


def from_file(path: Path) -> keras.Model:
    """Load a `.keras` file.

    Raises:
        ModelError: it is not one, or cannot be loaded, as one that would run code.
    """
    if not zipfile.is_zipfile(path):
        reason = "not a .keras file" if path.exists() else "no such file"
        raise ModelError(f"{reason}. Received: {path}. Expected: a model saved by Keras 3")
    try:
        return keras.models.load_model(path, compile=False)
    except UNLOADABLE as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        found = _foreign(path) or f"Keras cannot load it: {reason}"
        raise ModelError(f"{path}: {found}") from error


def _foreign(path: Path) -> str | None:
    """Say which layer of a `.keras` file Keras does not load, and what to do; None: not known."""
    try:
        with zipfile.ZipFile(path) as archive:
            layers = json.loads(archive.read("config.json"))["config"]["layers"]
        named = [(one["class_name"], one["config"]["name"], one) for one in layers]
    except UNLOADABLE:  # damaged
        return None
    for kind, name, layer in named:
        known = keras.saving.get_registered_object(str(layer.get("registered_name") or kind))
        received = None
        if kind == "Lambda":
            received = "Lambda, code that Keras does not run from a file"
        elif known is None and not str(layer.get("module")).startswith("keras"):
            received = f"{kind}, a class that Keras does not have"
        if received:
            return (
                f"layer {name!r} cannot be loaded. Received: {received}. Use layers of Keras, and "
                "operations on tensors such as `x * 2` or those of keras.ops, instead"
            )
    return None
