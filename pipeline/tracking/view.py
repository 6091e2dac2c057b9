"""What MLflow's page shows first: the table of runs with the right columns, and charts.

MLflow keeps a shared view of an experiment in a tag, as JSON; its page reads the tag that the link
names. The form of that JSON is nowhere promised: where a version of MLflow reads it otherwise, the
page opens with its own columns.
"""

import contextlib
import json
import shlex
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.tracking import MlflowClient

from pipeline.tracking import store

if TYPE_CHECKING:
    from pipeline.tracking.runs import Run

KEY = "flopsmith"
TAG = f"mlflow.sharedViewState.{KEY}"
QUERY = f"viewStateShareKey={KEY}&workflowType=machine_learning"
COLUMNS = (
    "tags.`stage`",
    "tags.`winner`",
    "params.`family`",
    "metrics.`val_accuracy`",
    "metrics.`test_accuracy`",
    "metrics.`flops`",
    "metrics.`params`",
    "metrics.`size_bytes`",
    "metrics.`latency_ms`",
    "metrics.`seconds`",
)
METRIC = "METRIC"
CHARTS: tuple[Mapping[str, Any], ...] = (
    {"type": "SCATTER", "xaxis": "flops", "yaxis": "val_accuracy"},
    {"type": "SCATTER", "xaxis": "size_bytes", "yaxis": "test_accuracy"},
    {
        "type": "PARALLEL",
        "selectedParams": ["family", "optimizer", "batch_size"],
        "selectedMetrics": ["log10_lr", "flops", "params", "val_accuracy"],
        "showAllRuns": True,
    },
    {"type": "LINE", "metricKey": "val/accuracy"},
    {"type": "LINE", "metricKey": "train/loss"},
)


def publish(client: MlflowClient, experiment_id: str) -> None:
    """Leave the view with an experiment; a store that does not take it loses nothing else."""
    with contextlib.suppress(*store.FAILURES):
        client.set_experiment_tag(experiment_id, TAG, json.dumps(state()))


def page(experiment_id: str) -> str:
    """The part of the address that opens the view."""
    return f"#/experiments/{experiment_id}/runs?{QUERY}"


def report(experiment_id: str, run_id: str) -> str:
    """The part of the address that opens the report of a run."""
    return f"#/experiments/{experiment_id}/runs/{run_id}/artifacts/export/report.html"


def hint(run: "Run") -> str:
    """The command that shows a run, and the addresses of all runs, of it and of its report."""
    if run.waiting:
        return f"it has not recorded everything; the same command does: {run.waiting}"
    uri = mlflow.get_tracking_uri()
    pages = {
        "the run": f"#/experiments/{run.experiment_id}/runs/{run.run_id}",
        "its report": report(run.experiment_id, run.run_id),
        "all runs and trials": page(run.experiment_id),
    }
    server = "http://127.0.0.1:5000"
    if is_served := uri.startswith("http"):
        server = store.hidden(uri).rstrip("/")
    lines = [f"  {name}: {server}/{at}" for name, at in pages.items()]
    allowed = f"{store.FILE_STORE}=true " if store.is_files(uri) else ""
    command = f"{allowed}mlflow ui --backend-store-uri {shlex.quote(uri)} --port 5000"
    return "\n".join(lines).strip() if is_served else "\n".join([command, *lines])


def state() -> dict[str, Any]:
    """What MLflow's page keeps of a view; the same every time."""
    section = _id("section")
    return {
        "selectedColumns": list(COLUMNS),
        "columnOrder": list(COLUMNS),
        "runsHiddenMode": "SHOWALL",
        "hideEmptyCharts": True,
        "compareRunSections": [
            {
                "uuid": section,
                "name": "Search and stages",
                "display": True,
                "isReordered": False,
                "deleted": False,
                "isGenerated": False,
            }
        ],
        "compareRunCharts": [_card(chart, section) for chart in CHARTS],
        "isAccordionReordered": True,
        # sorted by a number, all runs are in one list, and so in the charts; by time, stages and
        # trials would be folded into the run of their recipe
        "orderByKey": "metrics.`val_accuracy`",
        "orderByAsc": False,
    }


def _card(chart: Mapping[str, Any], section: str) -> dict[str, Any]:
    axes = {
        name: {"key": chart[name], "type": METRIC} for name in ("xaxis", "yaxis") if name in chart
    }
    own = {"runsCountToCompare": 100, "metricSectionId": section, "deleted": False}
    return {**chart, **axes, **own, "isGenerated": False, "uuid": _id(json.dumps(chart))}


def _id(text: str) -> str:
    return uuid.uuid5(uuid.NAMESPACE_URL, f"flopsmith/{text}").hex
