"""Read models in older formats: `.h5` files of Keras 2 and 3; say what to do with a SavedModel."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import keras

from pipeline.errors import ModelError

SUFFIXES = (".h5", ".hdf5")
GRAPH = "saved_model.pb"  # the file that a SavedModel has
UNLOADABLE = (AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError)
# Settings that Keras 2 wrote and Keras 3 does not know; none of them changes what is computed.
UNUSED = ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint")
DROPPED = {"Conv2DTranspose": ("groups",), "DepthwiseConv2D": UNUSED, "SeparableConv2D": UNUSED}
ADVICE = (
    "Where it was made, load it with keras.models.load_model of Keras 2.13 or later, or of "
    "tf_keras, write model.save('model.h5'), and give that file"
)


def is_legacy(path: Path) -> bool:
    """Whether a path is of an older format, by its content where that can be read."""
    if path.suffix in SUFFIXES:
        return True
    return (path / GRAPH).exists() if path.is_dir() else path.is_file() and h5py.is_hdf5(path)


def from_file(path: Path) -> keras.Model:
    """Load a `.h5` file of a whole model.

    Raises:
        ModelError: it is a SavedModel, holds weights alone, or cannot be loaded.
    """
    if path.is_dir():
        raise ModelError(
            "a SavedModel holds operations of TensorFlow, not the layers that compression works "
            f"on. Received: {path}. {ADVICE}"
        )
    if not path.exists() or not h5py.is_hdf5(path):
        reason = "not a .h5 file" if path.exists() else "no such file"
        raise ModelError(f"{reason}. Received: {path}. Expected: a model saved by Keras")
    with h5py.File(path) as file:
        found = file.attrs.get("model_config")
        version = file.attrs.get("keras_version", b"")
    if found is None:
        raise ModelError(
            f"the file holds weights without the layers that they are of. Received: {path}. Build "
            "the network, call its load_weights with this file, and give what "
            "model.save('model.keras') writes"
        )
    config = json.loads(found)
    is_old = (version.decode() if isinstance(version, bytes) else str(version)).startswith("2")
    if refused := _refusal(config):
        raise ModelError(f"{path}: {refused}")
    try:
        with _named(path) as file:
            return _loaded(file, config, is_old)
    except UNLOADABLE as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(f"{path}: Keras 3 cannot load it: {reason}. {ADVICE}") from error


@contextmanager
def _named(path: Path) -> Iterator[Path]:
    """The path of a file under a name from which Keras knows what it is."""
    if path.suffix in SUFFIXES:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "model.h5"
        link.symlink_to(path.resolve())
        yield link


def _loaded(path: Path, config: dict[str, Any], is_old: bool) -> keras.Model:
    changes = (_cleaned(config), is_old and _counted_from_zero(config))
    if not any(changes):
        return keras.models.load_model(path, compile=False)
    model = _from_config(config)
    model.load_weights(path)
    return model


def _from_config(config: dict[str, Any]) -> keras.Model:
    from keras.src.legacy.saving import saving_utils  # Keras has no public reader of such settings

    return saving_utils.model_from_config(config)


def _cleaned(config: Any) -> bool:
    """Remove settings that Keras 3 does not know, in place; returns whether there were any."""
    found = False
    if isinstance(config, dict):
        inner = config.get("config")
        for key in DROPPED.get(str(config.get("class_name")), ()):
            if isinstance(inner, dict) and key in inner:
                del inner[key]
                found = True
    parts = config.values() if isinstance(config, dict) else config
    for part in parts if isinstance(config, dict | list) else ():
        found |= _cleaned(part)
    return found


def _counted_from_zero(config: Any) -> bool:
    """Lower the numbers of calls of nested sequential models, whose calls Keras 2 counted from 1.

    Keras 3 reads such numbers of functional models as they are meant, but not these.
    """
    found = False
    inner = config.get("config") if isinstance(config, dict) else None
    layers = inner.get("layers") if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or not isinstance(layers, list):
        return False
    names = {
        one["config"]["name"]
        for one in layers
        if isinstance(one, dict) and one.get("class_name") == "Sequential"
    }

    def lower(part: Any) -> None:
        nonlocal found
        if not isinstance(part, list):
            return
        if (
            len(part) >= 3
            and isinstance(part[0], str)
            and part[0] in names
            and isinstance(part[1], int)
            and part[1] > 0
        ):
            part[1] -= 1
            found = True
        for one in part:
            lower(one)

    for one in layers:
        lower(one.get("inbound_nodes"))
        found |= _counted_from_zero(one)
    lower(inner.get("output_layers"))
    return found


def _refusal(config: Any) -> str | None:
    """Why a network cannot be loaded by Keras 3: it holds code, or operations of TensorFlow."""
    layers = config.get("config", {}).get("layers", []) if isinstance(config, dict) else []
    for layer in layers if isinstance(layers, list) else []:
        kind, inner = str(layer.get("class_name")), layer.get("config", {})
        name = inner.get("name", kind)
        if kind in ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"):
            return (
                f"layer {name!r} cannot be loaded. Received: an operation of TensorFlow, "
                f"{inner.get('function', kind)}. Use a layer of Keras, such as Rescaling or Add, "
                "instead, with the same weights"
            )
        if kind == "Lambda":
            return (
                f"layer {name!r} cannot be loaded. Received: Lambda, code that Keras does not run "
                "from a file. Use layers of Keras instead"
            )
        if found := _refusal(layer):
            return found
    return None
