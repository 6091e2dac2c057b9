"""The model that MLflow serves: it is logged with the run, registered, and perhaps champion."""

import base64
import hashlib
import io
import logging
import math
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.entities import Metric
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from PIL import Image

from pipeline.system import quiet
from pipeline.tracking import store
from pipeline.tracking.runs import Run

DIGITS = 36  # characters that MLflow takes of the digest of a data set
MODEL, LABELS = "model.tflite", "labels.txt"  # of a run's export directory
CHAMPION = "champion"
CODE = Path(__file__).with_name("serving.py")
PACKAGES = ("ai-edge-litert", "mlflow", "numpy", "pandas", "pillow")  # that CODE imports
SPLIT, ACCURACY, SIZE, HASH = "data_fingerprint", "test_accuracy", "size_bytes", "sha256"
OBJECTIVE = "objective"  # tag: the score that decides, where it is not accuracy
WITHHELD = "champion_withheld"  # tag: why a version may not be the champion
PREPROCESSING = (
    "An image file is decoded upright, made 8-bit grey or RGB with white where it is transparent, "
    "scaled (bilinear) until it covers the input and cropped at the centre. The model takes pixels "
    "of 0..255 and normalizes them itself."
)
log = logging.getLogger("flopsmith")


@dataclass(frozen=True)
class Candidate:
    """An exported model, with what decides whether it becomes the champion."""

    recipe: str
    export: Path  # the directory that holds it and its labels
    example: np.ndarray  # uint8 [H, W, C], an image as it takes them
    accuracy: float  # fraction of the test images
    split: str  # fingerprint of the data and of its division
    tags: Mapping[str, str]  # more facts for the registry
    data: str | None = None  # short name of the user's own data set; None: the built-in images
    withhold: str | None = None  # why it must not be the champion; None: it may be
    objective: str = "accuracy"  # the score that decides
    scores: Mapping[str, float] = field(default_factory=dict)  # all of them on test
    numbers: Mapping[str, float] = field(default_factory=dict)  # for the page of the model
    source: str = ""  # the data set, as the recipe names it

    @property
    def name(self) -> str:
        """Name in the registry, made of characters that MLflow allows everywhere.

        Each data set has a model of its own, and so a champion of its own.
        """
        parts = [self.recipe, self.data] if self.data else [self.recipe]
        return "flopsmith-" + re.sub(r"[^\w-]", "-", "-".join(parts))


def register(made: Candidate, run: Run) -> None:
    """Log a model with the active run, register it, and make it the champion if it is the best.

    A file that is registered already is not registered again. If the store cannot hold models, a
    warning says so and the run goes on.
    """
    if run.waiting:
        log.warning("%s: the same command registers it, once MLflow is back", made.name)
        return
    content = (made.export / MODEL).read_bytes()
    tags = {
        **made.tags,
        SPLIT: made.split,
        **{f"test_{name}": repr(value) for name, value in made.scores.items()},
        ACCURACY: repr(made.accuracy),
        **({OBJECTIVE: made.objective} if made.objective != "accuracy" else {}),
        SIZE: str(len(content)),
        HASH: hashlib.sha256(content).hexdigest(),
        **({WITHHELD: made.withhold} if made.withhold else {}),
    }
    try:
        client = MlflowClient()
        found = _known(client, made.name, tags)
        if found:
            log.info("%s: version %s is this file already", made.name, found.version)
        else:
            found = _version(client, made, tags)
            if made.withhold is None:
                _compare(client, found)
            else:
                log.warning(
                    "%s: version %s is registered, but not made %s: %s",
                    *(made.name, found.version, CHAMPION, made.withhold),
                )
        run.tags({"registered_model": f"models:/{made.name}/{found.version}"})
    except store.FAILURES as error:
        log.warning("%s: MLflow did not register the model: %s", made.name, store.reason(error))


def _known(client: MlflowClient, name: str, tags: Mapping[str, str]) -> ModelVersion | None:
    """The registered version with the same bytes and test images, if there is one."""
    alike = client.search_model_versions(f"name = '{name}' and tags.{HASH} = '{tags[HASH]}'")
    return next((one for one in alike if one.tags.get(SPLIT) == tags[SPLIT]), None)


def _version(client: MlflowClient, made: Candidate, tags: Mapping[str, str]) -> ModelVersion:
    """Log the model with the active run and make a version of it."""
    os.environ.setdefault("MLFLOW_UV_AUTO_DETECT", "false")  # it would add the user's own uv.lock
    with quiet.muted():
        # loads the model once, to see that it answers the example
        logged = mlflow.pyfunc.log_model(name=made.name, python_model=str(CODE), **_contents(made))
        _measure(client, made, logged.model_id)
        try:
            client.create_registered_model(made.name, description=_usage(made.name))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return mlflow.register_model(logged.model_uri, made.name, tags=dict(tags))


def digest(fingerprint: str) -> str:
    """A fingerprint in as many characters as MLflow takes for a data set."""
    return fingerprint[:DIGITS]


def _measure(client: MlflowClient, made: Candidate, model_id: str) -> None:
    """Give the page of the logged model its numbers, those on test with the data set."""
    active = mlflow.active_run()
    now = int(time.time() * 1000)
    if active is None or not made.numbers:
        return
    data = {"dataset_name": made.source, "dataset_digest": digest(made.split)}
    known = [
        Metric(name, value, now, 0, model_id=model_id, **(data if name.startswith("test_") else {}))
        for name, value in made.numbers.items()
        if math.isfinite(value)
    ]
    client.log_batch(active.info.run_id, metrics=known)


def _contents(made: Candidate) -> dict[str, Any]:
    """What is logged beside the code."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, DataType, Map, Schema

    columns = [
        ColSpec(DataType.string, "label"),
        ColSpec(DataType.double, "score"),
        ColSpec(Map(DataType.double), "scores"),
    ]
    return {
        "artifacts": {"model": str(made.export / MODEL), "labels": str(made.export / LABELS)},
        # Any: an image file, or pixels; of a column that has a type MLflow would refuse one of them
        "signature": ModelSignature(Schema([ColSpec(AnyType(), "image")]), Schema(columns)),
        "input_example": _example(made),
        "pip_requirements": [f"{package}=={version(package)}" for package in PACKAGES],
        "metadata": {
            "labels": (made.export / LABELS).read_text(encoding="utf-8").splitlines(),
            "input_shape": list(made.example.shape),
            "preprocessing": PREPROCESSING,
        },
    }


def _example(made: Candidate) -> list[dict[str, str]]:
    """A request with one image, as a file in base64."""
    picture = made.example[..., 0] if made.example.shape[-1] == 1 else made.example
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(file, "PNG")
    return [{"image": base64.b64encode(file.getvalue()).decode()}]


def _usage(name: str) -> str:
    """What the registry says on the model's page (Markdown)."""
    return (
        "An image classifier. To serve it, with MLFLOW_TRACKING_URI naming this store:\n\n"
        f"    {_command(name)}\n\n"
        "To ask it:\n\n"
        """    printf '{"inputs": ["%s"]}' "$(base64 < photo.jpg | tr -d '\\n')" """
        "\\\n        | curl -H 'Content-Type: application/json' -d @- http://127.0.0.1:5001/invocations"
        f"\n\n`{CHAMPION}` is the version with the best test accuracy of those that were tested on "
        f"the same images (tag `{SPLIT}`), or the best score that the tag `{OBJECTIVE}` names; of "
        "two alike, the smaller file."
    )


def _command(name: str) -> str:
    return f"mlflow models serve -m models:/{name}@{CHAMPION} --env-manager local --port 5001"


def _compare(client: MlflowClient, new: ModelVersion) -> None:
    """Make a new version the champion if there is none, or if it is better."""
    held = client.get_registered_model(new.name).aliases.get(CHAMPION)
    if held is None:
        client.set_registered_model_alias(new.name, CHAMPION, new.version)
        log.info("%s: version %s is registered, and %s", new.name, new.version, CHAMPION)
        log.info("serve it: %s", _command(new.name))
        return
    old = client.get_model_version(new.name, held)
    if old.tags.get(SPLIT) != new.tags[SPLIT]:
        log.warning(
            "%s: version %s was tested on other images than version %s, which stays %s. To choose "
            "it: mlflow.MlflowClient().set_registered_model_alias(%r, %r, %s)",
            *(new.name, new.version, old.version, CHAMPION, new.name, CHAMPION, new.version),
        )
        return
    names = [one.tags.get(OBJECTIVE, "accuracy") for one in (new, old)]
    key = f"test_{names[0]}"
    if key not in old.tags:  # registered by an earlier version of flopsmith
        log.warning(
            "%s: version %s has no %s and stays %s. To choose version %s: "
            "mlflow.MlflowClient().set_registered_model_alias(%r, %r, %s)",
            *(new.name, old.version, key, CHAMPION, new.version, new.name, CHAMPION, new.version),
        )
        return
    if names[0] != names[1]:
        log.warning(
            "%s: the objective of version %s is %s, that of version %s is %s; they are compared by "
            "the former",
            *(new.name, new.version, names[0], old.version, names[1]),
        )
    better = _rank(new, key) > _rank(old, key)
    if better:
        client.set_registered_model_alias(new.name, CHAMPION, new.version)
    log.info(
        "%s: version %s is registered%s; %s",
        *(new.name, new.version, f", and {CHAMPION}" if better else "", _versus(new, old, key)),
    )


def _rank(one: ModelVersion, key: str) -> tuple[float, int]:
    """Sort key of a version: its score on test, then smaller size; higher is better."""
    return float(one.tags[key]), -int(one.tags[SIZE])


def _versus(new: ModelVersion, old: ModelVersion, key: str) -> str:
    """Score and size of the new version against the old one."""
    return " against ".join(
        f"{float(one.tags[key]):.4f} and {int(one.tags[SIZE]):,} bytes{of}"
        for one, of in ((new, ""), (old, f" of version {old.version}"))
    )
