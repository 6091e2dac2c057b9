"""Trained networks by name: from a package, keras.applications, a file, a run or MLflow."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from pipeline import artifact
from pipeline.errors import ModelError
from pipeline.graph import keras_file, legacy_file, plain
from pipeline.graph.plain import Trainable
from pipeline.pretrained import applications, efficientnet_lite, heads
from search_spaces import published

FORMS = ("applications:NAME", "PATH.keras", "PATH.h5", "runs/DIR", "mlflow:URI")
KNOWN = ", ".join((*efficientnet_lite.PACKAGES, *FORMS))


@dataclass(frozen=True)
class Loaded:
    """A trained network: takes pixels 0..255."""

    model: keras.Model
    imagenet: bool = False  # whether its classes are ImageNet's
    family: str | None = None
    arch: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()  # what was changed of the network as it was saved


def load(source: str, weights: bool = True, trainable: Trainable = "all") -> Loaded:
    """Load a trained network.

    Args:
        source: `efficientnet_lite0`, `1` or `2`, `applications:NAME`, `PATH.keras`, `PATH.h5`, the
            directory of a run or of one of its stages, or `mlflow:URI` of a logged model or
            `.keras` file.
        weights: False where only the cost of the network counts: nothing large is downloaded from
            Keras, and weights may be random.
        trainable: Of a file, which layers can be trained further, see `pipeline.graph.plain.of`.

    Raises:
        ModelError: there is no such network, or it cannot be loaded; says what to do.
    """
    kind, _, rest = source.partition(":")
    path = Path(source)
    if source in efficientnet_lite.PACKAGES:
        return _lite(source, weights)
    if kind == "applications":
        return Loaded(applications.load(rest, weights), imagenet=True)
    if kind == "mlflow":
        return _plain(_logged(rest), trainable)
    if path.suffix in keras_file.SUFFIXES or legacy_file.is_legacy(path):
        return _plain(Loaded(heads.meant(keras_file.from_file(path), path)), trainable)
    if path.is_dir():
        return _plain(_of_run(path), trainable)
    if "/" in source:
        raise ModelError(f"no such directory. Received: {source}. Expected: that of a run")
    raise ModelError(f"unknown source of weights. Received: {source!r}. Expected: {KNOWN}")


def _plain(loaded: Loaded, trainable: Trainable) -> Loaded:
    """The network as every stage can take it."""
    made = plain.of(loaded.model, trainable)
    return replace(loaded, model=made.model, notes=made.notes)


def _lite(network: str, weights: bool) -> Loaded:
    efficientnet_lite.installed(network)
    made = efficientnet_lite.load if weights else efficientnet_lite.untrained
    family, net = published.find(network)
    return Loaded(made(network), True, family, net.arch.model_dump(mode="json"))


def _of_run(directory: Path) -> Loaded:
    """The last Keras model of a run, or that of one of its stages."""
    stage = artifact.load(directory)
    found = artifact.load_all(directory) if stage is None else [stage]
    models = [a for a in found if a.model_file and a.model_file.endswith(keras_file.SUFFIX)]
    if not models or models[-1].model_path is None:
        stages = ", ".join(a.stage for a in found) or "none"
        raise ModelError(
            f"no Keras model in the run. Received: {directory}, finished stages: {stages}. Give "
            "the directory of a run that has searched or trained a network"
        )
    last = models[-1]
    return Loaded(keras_file.from_file(models[-1].model_path), False, last.family, last.arch)


def _logged(uri: str) -> Loaded:
    """A model that MLflow keeps."""
    from pipeline.tracking import fetching  # it imports MLflow, which takes seconds

    with tempfile.TemporaryDirectory() as folder:
        path = fetching.download(uri, Path(folder))
        files = [path] if path.is_file() else sorted(path.rglob(f"*{keras_file.SUFFIX}"))
        if len(files) != 1 or files[0].suffix != keras_file.SUFFIX:
            names = ", ".join(str(file.relative_to(folder)) for file in files[:5]) or "none"
            raise ModelError(
                f"MLflow has no single Keras model there. Received: mlflow:{uri}, with files: "
                f"{names}. Give the URI of one .keras file"
            )
        return Loaded(keras_file.from_file(files[0]))
