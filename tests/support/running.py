"""Run a recipe, and note what it returns, logs, writes, and leaves in MLflow."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from pipeline import recipe, runner
from pipeline.artifact import Artifact
from pipeline.recipe import Recipe
from pipeline.tracking.runs import PARENT

TINY = """description: One network, hardly trained
data: digits
budget: {flops: 12M}
stages:
  - search: {trials: 1, epochs: 1, families: [resnet], batch_sizes: [32]}
  - finetune: {epochs: 1}
  - report
"""
REPORTS = "description: Only reports, of nothing\ndata: digits\nstages: [report, report]\n"
Files = dict[str, int]


def read(workplace: Path, text: str, overrides: str = "") -> Recipe:
    (workplace / "tiny.yaml").write_text(text)
    return recipe.load("tiny.yaml", recipe.parse_overrides(overrides))


def files(out: Path) -> Files:
    """Every file of every stage, and when it was written."""
    found = [path for path in sorted(out.glob("[0-9]*/**/*")) if path.is_file()]
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in found}


class Ended:
    """A run that has ended: what it returned, logged, wrote, and left in MLflow."""

    def __init__(self, out: Path, result: tuple[list[Artifact], str], lines: list[str]) -> None:
        self.finished, self.hint = result
        self.lines = lines
        self.files = files(out)
        self.replaced = sorted(str(p.relative_to(out)) for p in out.glob("replaced/*/*.json"))
        self.run_id = json.loads((out / runner.RUN).read_text())["run_id"]


def run(out: Path, loaded: Recipe, fresh: bool = False) -> Ended:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("flopsmith")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        return Ended(out, runner.run(loaded, out, fresh), lines)
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


@pytest.fixture(scope="module")
def client(workplace: Path) -> MlflowClient:
    return MlflowClient()


def nested(client: MlflowClient, parent: str) -> dict[str, Run]:
    """Runs nested in a run, by name."""
    experiment = client.get_run(parent).info.experiment_id
    found = client.search_runs([experiment], f"tags.`{PARENT}` = '{parent}'")
    return {run.info.run_name: run for run in found}


@pytest.fixture
def reports(workplace: Path) -> Callable[..., Recipe]:
    return lambda overrides="", text=REPORTS: read(workplace, text, overrides)


def names(out: Path) -> list[str]:
    return sorted(path.name for path in out.glob("[0-9]*"))
