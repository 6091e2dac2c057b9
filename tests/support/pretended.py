"""A search whose trials train nothing."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from support.context import make_context

from pipeline.budget import Budget
from pipeline.context import Context
from pipeline.data.datasets import Dataset
from pipeline.search import loop, trial
from pipeline.search.costs import Costs
from pipeline.search.loop import Plan, Searcher
from pipeline.search.space import Space
from pipeline.system.files import write_atomic

EPOCHS = 9
KILLED, RAISED = "2", "4"  # numbers of trials


def pretend(task: trial.Task, **options: Any) -> None:
    """A trial that trains nothing: its score is that of its learning rate."""
    directory, epochs = task.directory, task.epochs
    number = directory.name.removeprefix("trial_").lstrip("0")
    if number == KILLED:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == RAISED:
        return trial.fail(directory, "Traceback\nMemoryError: 12 GiB are not there", 0.1, epochs)
    score = 1 - abs(task.settings["learning_rate"] - 0.003)
    found = {
        "epochs": epochs,
        "val_accuracy": score,
        "val_loss": 1 - score,
        "history": {"val/loss": [1 - score] * epochs, "val/accuracy": [score] * epochs},
        "error": None,
        "seconds": 0.1,
        "epoch_seconds": 0.01,
    }
    (directory / trial.MODEL).write_text("a model")
    write_atomic(directory / trial.RESULT, json.dumps(found))


def slowly(task: trial.Task, **options: Any) -> None:
    time.sleep(0.3)
    pretend(task, **options)


@pytest.fixture
def ctx(tmp_path: Path, few_digits: Dataset) -> Context:
    budget = Budget(flops="2M", flops_at_least=0.01)
    return make_context(tmp_path / "01-search", few_digits, budget=budget)


def search(ctx: Context, oracle: str = "random", **options: Any) -> Searcher:
    ctx.directory.mkdir(exist_ok=True)
    space = Space(("lenet", "vgg"), ("adam",), (1e-3, 1e-2), batch_sizes=(8, 16))
    shape, classes = ctx.data.image_shape, ctx.data.num_classes
    plan = Plan(oracle, **{"epochs": EPOCHS, **options})
    return Searcher(space, Costs(shape, classes, ctx.budget), ctx, plan)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop.trial, "run", pretend)
