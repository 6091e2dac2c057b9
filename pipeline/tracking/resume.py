"""The MLflow run of a directory: the same command reopens it, so that a resume is no second run.

`run.json` in the directory names it. It is reopened if the store has it and the recipe, its data
and its settings are the same; otherwise a new run begins, whose tag `continues` names it.
"""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import LifecycleStage, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline.system.files import write_atomic

EXPERIMENT = "flopsmith"
FILE = "run.json"
PARENT = "mlflow.parentRunId"
CONTINUES = "continues"  # tag: id of the run that this one goes on from
NESTED_MOST = 50_000  # runs that MLflow finds in one call
DONE = ("FINISHED", "FAILED")  # a trial that failed is complete as well
log = logging.getLogger("flopsmith")


@dataclass(frozen=True)
class Note:
    """What `run.json` says."""

    run_id: str | None = None
    code: str = ""  # fingerprint of the recipe that was run


@dataclass(frozen=True)
class Opened:
    """The run that a command records in."""

    run_id: str
    experiment_id: str
    earlier: "Earlier | None"  # what earlier commands have recorded of it; None: it is new
    inner: str | None  # id of the run that `mlflow run` has made, where an earlier one goes on


@dataclass
class Earlier:
    """What MLflow holds of a run that an earlier command began, and of those nested in it."""

    run_id: str
    status: str
    params: Mapping[str, str]
    latest: Mapping[str, float]
    points: set[tuple[str, int]] = field(default_factory=set)  # (curve, step)
    nested: dict[str, "Earlier"] = field(default_factory=dict)  # by name

    @property
    def done(self) -> bool:
        """Whether everything of it has been recorded."""
        return self.status in DONE


def read(place: Path) -> Note:
    """Read which run a directory was last recorded in."""
    try:
        found = json.loads((place / FILE).read_text(encoding="utf-8"))
        return Note(str(found["run_id"]), str(found.get("code", "")))
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return Note()


def write(place: Path, note: Note) -> None:
    """Write which run a directory is recorded in."""
    write_atomic(place / FILE, json.dumps({"run_id": note.run_id, "code": note.code}))


def find(client: MlflowClient, run_id: str | None) -> Run | None:
    """A run that the store has and nobody has deleted."""
    if not run_id:
        return None
    try:
        found = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    return found if found.info.lifecycle_stage == LifecycleStage.ACTIVE else None


def load(client: MlflowClient, run: Run, levels: int = 2) -> Earlier:
    """Read what MLflow holds of a run and of those nested in it: stages, and their trials."""
    found = Earlier(run.info.run_id, run.info.status, dict(run.data.params), dict(run.data.metrics))
    if found.status != "FINISHED":
        found.points = {
            (point.key, point.step)
            for key in found.latest
            for point in client.get_metric_history(found.run_id, key)
        }
    for one in nested(client, run) if levels else []:
        found.nested.setdefault(one.info.run_name, load(client, one, levels - 1))
    return found


def nested(client: MlflowClient, run: Run, only: str = "") -> list[Run]:
    """The runs nested in a run, the newest first; `only` narrows them down."""
    text = f"tags.`{PARENT}` = '{run.info.run_id}'{only}"
    found: Any = client.search_runs([run.info.experiment_id], text, max_results=NESTED_MOST)
    return list(found)


def status_after(error: BaseException) -> str:
    """What a run that an error has ended is called in MLflow."""
    return "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"


def end_abandoned(client: MlflowClient, run_id: str) -> None:
    """Mark a run that a killed process left RUNNING, and its nested runs, as KILLED."""
    run = find(client, run_id)
    if run is None:
        return
    for child in nested(client, run, " and status = 'RUNNING'"):
        end_abandoned(client, child.info.run_id)
    if run.info.status == "RUNNING":
        client.set_terminated(run_id, "KILLED")


def enter(client: MlflowClient, name: str, again: Run | None) -> Opened:
    """Make the run of a command the active one: an earlier one, that of `mlflow run`, or a new one.

    Args:
        client: Of the store.
        name: What a new run is called.
        again: The run of an earlier command for the same; it goes on, unless another experiment is
            asked for. The run that `mlflow run` has made is then nested in it.
    """
    made = os.environ.get("MLFLOW_RUN_ID")
    if again and not _is_in(client, again, _chosen(client, made)):
        again = None
    nested = mlflow.active_run() is not None  # a user's own, in a notebook
    if again is None:
        _use_experiment(**_chosen(client, made))
        own = {"nested": nested, "log_system_metrics": _watched()}
        active = mlflow.start_run(run_name=None if made else name, **own)
        if made:
            client.update_run(made, name=name)
        return Opened(active.info.run_id, active.info.experiment_id, None, None)
    run_id = again.info.run_id
    earlier = load(client, again)
    os.environ.pop("MLFLOW_RUN_ID", None)  # or another run of this process would take it up
    _use_experiment(experiment_id=again.info.experiment_id)
    mlflow.start_run(run_id, nested=nested, log_system_metrics=_watched())
    log.info("MLflow: the run of the earlier command goes on: %s", run_id)
    inner = made if made and made != run_id else None
    if inner:
        client.set_tag(inner, PARENT, run_id)
        client.set_tag(inner, CONTINUES, run_id)
        log.info("MLflow: the run that `mlflow run` has made is nested in it: %s", inner)
    return Opened(run_id, again.info.experiment_id, earlier, inner)


def _watched() -> bool | None:
    """Whether the run records the load of processor, memory, disk and network, every 10 seconds.

    None leaves that to the user's own setting, as in all of MLflow.
    """
    return None if "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING" in os.environ else True


def _chosen(client: MlflowClient, made: str | None) -> dict[str, str]:
    """The experiment of a new run: that of `mlflow run`, that of the environment, or ours."""
    if made:
        return {"experiment_id": client.get_run(made).info.experiment_id}
    if given := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return {"experiment_id": given}
    return {"experiment_name": os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT}


def _use_experiment(**named: str) -> None:
    """Let new runs be in an experiment; leaves the environment as the user has set it."""
    variable = "MLFLOW_EXPERIMENT_ID"
    before = os.environ.get(variable)
    mlflow.set_experiment(**named)
    if named.get("experiment_name") == EXPERIMENT:
        mlflow.set_experiment_tag("mlflow.experimentKind", "custom_model_development")
    os.environ.pop(variable, None)
    if before is not None:
        os.environ[variable] = before


def _is_in(client: MlflowClient, run: Run, chosen: Mapping[str, str]) -> bool:
    """Whether a run is in the experiment that is asked for; none is, where ours is by default."""
    if "experiment_id" in chosen:
        return bool(run.info.experiment_id == chosen["experiment_id"])
    if not os.environ.get("MLFLOW_EXPERIMENT_NAME"):
        return True
    found = client.get_experiment_by_name(chosen["experiment_name"])
    return bool(found and found.experiment_id == run.info.experiment_id)
