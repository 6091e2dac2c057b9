"""Trained networks by name: from a package, keras.applications, a file, a run or MLflow."""

import json
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from pipeline import artifact
from pipeline.errors import ModelError
from pipeline.pretrained import applications, efficientnet_lite
from search_spaces import base
from search_spaces import layers as own_layers

KNOWN = f"{efficientnet_lite.NETWORK}, applications:NAME, PATH.keras, runs/DIR, mlflow:URI"
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


@dataclass(frozen=True)
class Loaded:
    """A trained network: takes pixels 0..255."""

    model: keras.Model
    imagenet: bool = False  # whether its classes are ImageNet's
    family: str | None = None
    arch: dict[str, Any] | None = None


def load(source: str, weights: bool = True) -> Loaded:
    """Load a trained network.

    Args:
        source: `efficientnet_lite0`, `applications:NAME`, `PATH.keras`, the directory of a run or
            of one of its stages, or `mlflow:URI` of a logged model or `.keras` file.
        weights: False where only the cost of the network counts: nothing large is downloaded from
            Keras, and weights may be random.

    Raises:
        ModelError: there is no such network, or it cannot be loaded; says what to do.
    """
    kind, _, rest = source.partition(":")
    path = Path(source)
    if source == efficientnet_lite.NETWORK:
        return _lite(weights)
    if kind == "applications":
        return Loaded(applications.load(rest, weights), imagenet=True)
    if kind == "mlflow":
        return _logged(rest)
    if path.is_dir():
        return _of_run(path)
    if path.suffix == SUFFIX:
        return Loaded(from_file(path))
    if "/" in source:
        raise ModelError(f"no such directory. Received: {source}. Expected: that of a run")
    raise ModelError(f"unknown source of weights. Received: {source!r}. Expected: {KNOWN}")


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


def _lite(weights: bool) -> Loaded:
    path = efficientnet_lite.installed()
    model = efficientnet_lite.load(path) if weights else efficientnet_lite.untrained()
    family, net = base.find(efficientnet_lite.NETWORK)
    return Loaded(model, True, family, net.arch.model_dump(mode="json"))


def _of_run(directory: Path) -> Loaded:
    """The last Keras model of a run, or that of one of its stages."""
    stage = artifact.load(directory)
    found = artifact.load_all(directory) if stage is None else [stage]
    models = [a for a in found if a.model_file and a.model_file.endswith(SUFFIX)]
    if not models or models[-1].model_path is None:
        stages = ", ".join(a.stage for a in found) or "none"
        raise ModelError(
            f"no Keras model in the run. Received: {directory}, finished stages: {stages}. Give "
            "the directory of a run that has searched or trained a network"
        )
    last = models[-1]
    return Loaded(from_file(models[-1].model_path), False, last.family, last.arch)


def _logged(uri: str) -> Loaded:
    """A model that MLflow keeps."""
    from pipeline import tracking  # it imports MLflow, which takes seconds

    with tempfile.TemporaryDirectory() as folder:
        path = tracking.download(uri, Path(folder))
        files = [path] if path.is_file() else sorted(path.rglob(f"*{SUFFIX}"))
        if len(files) != 1 or files[0].suffix != SUFFIX:
            names = ", ".join(str(file.relative_to(folder)) for file in files[:5]) or "none"
            raise ModelError(
                f"MLflow has no single Keras model there. Received: mlflow:{uri}, with files: "
                f"{names}. Give the URI of one .keras file"
            )
        return Loaded(from_file(files[0]))
