"""A search whose trials train nothing."""

from pathlib import Path
from typing import Any

import pytest
from support.context import make_context
from support.faked import pretend

from pipeline.budget import Budget
from pipeline.context import Context
from pipeline.data.datasets import Dataset
from pipeline.search import trial
from pipeline.search.costs import Costs
from pipeline.search.loop import Searcher
from pipeline.search.rounds import Plan
from pipeline.search.space import Space

EPOCHS = 9


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
    monkeypatch.setattr(trial, "run", pretend)
