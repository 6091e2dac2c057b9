"""MLflow: one run per recipe, with a nested run per stage and, in that of search, per trial."""

import contextlib
import logging
import math
import os
import shlex
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlflow
import mlflow.artifacts
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline.errors import ModelError
from pipeline.system import numbers

STORE = "sqlite:///mlflow.db"
EXPERIMENT = "flopsmith"
PARENT = "mlflow.parentRunId"
BATCH, METRICS = 100, 1000  # params and metrics that MLflow takes in one call
NUMBERS = (  # of a trial
    "val_accuracy",
    "val_loss",
    "flops",
    "macs",
    "params",
    "peak_memory_bytes",
    "tflite_bytes",
    "latency_ms",
    "int8_val_accuracy",
    "int8_bytes",
    "int8_latency_ms",
    "seconds",
    "fit_seconds",
    "memory_bytes",
)
log = logging.getLogger("flopsmith")


class Run:
    """One MLflow run; implements `pipeline.stage.Log`."""

    def __init__(self, client: MlflowClient, experiment_id: str, run_id: str) -> None:
        self._client, self._experiment_id, self.run_id = client, experiment_id, run_id
        self._trials: dict[str, Run] = {}

    @property
    def experiment_id(self) -> str:
        """Experiment that the run belongs to."""
        return self._experiment_id

    def params(self, values: Mapping[str, Any]) -> None:
        """Record settings; nested ones by dotted key."""
        found = [Param(key, numbers.written(value)[:6000]) for key, value in flat(values).items()]
        for start in range(0, len(found), BATCH):
            self._client.log_batch(self.run_id, params=found[start : start + BATCH])

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Record final numbers, or with `step` one point per curve."""
        now = int(time.time() * 1000)
        kept = [Metric(k, float(v), now, step or 0) for k, v in values.items() if math.isfinite(v)]
        if kept:
            self._client.log_batch(self.run_id, metrics=kept)

    def curves(self, history: Mapping[str, list[float]], first: int = 1) -> None:
        """Record whole learning curves, a value per epoch from `first` on."""
        now = int(time.time() * 1000)
        points = [
            Metric(curve, float(value), now, epoch)
            for curve, values in history.items()
            for epoch, value in enumerate(values, first)
            if math.isfinite(value)
        ]
        for start in range(0, len(points), METRICS):
            self._client.log_batch(self.run_id, metrics=points[start : start + METRICS])

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        tags = [RunTag(key, str(value)[:5000]) for key, value in values.items()]
        self._client.log_batch(self.run_id, tags=tags)

    def describe(self, text: str) -> None:
        """Set the description that the UI shows on the run's page (Markdown)."""
        self._client.set_tag(self.run_id, "mlflow.note.content", text)

    def file(self, path: Path, folder: str | None = None) -> None:
        """Keep a copy of a file as an artifact."""
        self._client.log_artifact(self.run_id, str(path), folder)

    def text(self, content: str, name: str) -> None:
        """Keep text as an artifact."""
        self._client.log_text(self.run_id, content, name)

    def trial(self, row: Mapping[str, Any]) -> None:
        """Record one trial of a search as a nested run; later calls add numbers to it."""
        if known := self._trials.get(row["trial_id"]):
            known.metrics({k: row[k] for k in NUMBERS if row.get(k) is not None})
            return
        with self.child(f"trial-{row['trial_id']}", seconds_ago=row["seconds"]) as run:
            self._trials[row["trial_id"]] = run
            continued = {"continues": f"trial-{row['parent']}"} if row.get("parent") else {}
            chosen = {"family": row["family"], **row["settings"], "arch": row["arch"]}
            chosen |= {k: row[k] for k in ("epoch_images",) if row.get(k)}
            run.params(chosen | continued)
            run.metrics({k: row[k] for k in NUMBERS if row.get(k) is not None})
            run.curves(row["history"], row.get("first_epoch", 0) + 1)
            if row["error"]:
                run.text(row["error"], "error.txt")
                run.tags({"error": row["error"].strip().splitlines()[-1]})
        if row["error"]:
            self._client.set_terminated(run.run_id, "FAILED")

    @contextlib.contextmanager
    def child(
        self, name: str, tags: Mapping[str, str] | None = None, seconds_ago: float = 0
    ) -> Iterator["Run"]:
        """Open a nested run; an error ends it FAILED, Ctrl-C ends it KILLED."""
        made = self._client.create_run(
            self._experiment_id,
            start_time=int((time.time() - seconds_ago) * 1000),
            run_name=name,
            tags={PARENT: self.run_id, **(tags or {})},
        )
        run = Run(self._client, self._experiment_id, made.info.run_id)
        try:
            yield run
        except KeyboardInterrupt:
            self._client.set_terminated(run.run_id, "KILLED")
            raise
        except BaseException:
            self._client.set_terminated(run.run_id, "FAILED")
            raise
        self._client.set_terminated(run.run_id, "FINISHED")


@contextlib.contextmanager
def start(name: str) -> Iterator[Run]:
    """Open the run of a recipe: the one that `mlflow run` made, else a new one."""
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        mlflow.set_tracking_uri(STORE)
    attached = os.environ.get("MLFLOW_RUN_ID")
    if not attached and not any(os.environ.get(f"MLFLOW_EXPERIMENT_{k}") for k in ("ID", "NAME")):
        mlflow.set_experiment(EXPERIMENT)
        mlflow.set_experiment_tag("mlflow.experimentKind", "custom_model_development")
    with _killed_on_interrupt(), mlflow.start_run(run_name=None if attached else name) as active:
        client = MlflowClient()
        if attached:
            client.update_run(active.info.run_id, name=name)
        yield Run(client, active.info.experiment_id, active.info.run_id)


@contextlib.contextmanager
def _killed_on_interrupt() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        if mlflow.last_active_run():
            run_id = mlflow.last_active_run().info.run_id
            MlflowClient().set_terminated(run_id, "KILLED")
        raise


def end_abandoned(run_id: str) -> None:
    """Mark a run that a killed process left RUNNING, and its nested runs, as KILLED."""
    client = MlflowClient()
    try:
        run = client.get_run(run_id)
    except MlflowException:
        return  # it was deleted, or is in another store
    nested = client.search_runs(
        [run.info.experiment_id], f"tags.`{PARENT}` = '{run_id}' and status = 'RUNNING'"
    )
    for child in nested:
        end_abandoned(child.info.run_id)
    if run.info.status == "RUNNING":
        client.set_terminated(run_id, "KILLED")


def download(uri: str, directory: Path) -> Path:
    """Copy a logged model or file, `runs:/ID/PATH` or `models:/NAME/VERSION`, to a directory.

    Raises:
        ModelError: MLflow has none there, or cannot be reached.
    """
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        mlflow.set_tracking_uri(STORE)
    try:
        return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(directory)))
    except (MlflowException, OSError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(
            f"MLflow has no such model. Received: mlflow:{uri} ({reason[:200]}), in "
            f"{mlflow.get_tracking_uri()}. Set MLFLOW_TRACKING_URI to the store that has it"
        ) from error


def ui_hint(run: Run) -> str:
    """The command that shows a run, and the address it shows it at."""
    uri = mlflow.get_tracking_uri()
    page = f"#/experiments/{run.experiment_id}/runs/{run.run_id}"
    if uri.startswith("http"):
        return f"{uri.rstrip('/')}/{page}"
    return f"mlflow ui --backend-store-uri {shlex.quote(uri)} --port 5000\n  http://127.0.0.1:5000/{page}"


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings and lists of mappings to dotted keys.

    >>> flat({"a": {"b": 1}, "c": [{"d": 2}], "e": [3, 4]})
    {'a.b': 1, 'c.0.d': 2, 'e': [3, 4]}
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
            value = {str(i): v for i, v in enumerate(value)}
        if isinstance(value, Mapping):
            found.update(flat(value, f"{path}."))
        else:
            found[path] = value
    return found
