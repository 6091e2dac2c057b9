"""A search keeps to its time and its budget, and says what they left of it."""

import json
import logging
import time
from dataclasses import replace
from typing import Any

import pytest
from support.faked import pretend, slowly
from support.pretended import EPOCHS, search
from support.pretended import ctx as ctx
from support.pretended import fake as fake

from pipeline.budget import Budget
from pipeline.context import Context
from pipeline.search import timing, trial
from pipeline.search.costs import Costs
from pipeline.search.oracles.base import Span
from pipeline.search.space import Space
from pipeline.system.files import write_atomic


def paced(task: trial.Task, **options: Any) -> None:
    """A trial of 0.1 s, and 0.2 s an epoch."""
    seconds = 0.1 + 0.2 * task.epochs
    time.sleep(seconds)
    pretend(task, **options)
    found = json.loads((task.directory / trial.RESULT).read_text()) | {"epoch_seconds": 0.2}
    found |= {"seconds": seconds}
    write_atomic(task.directory / trial.RESULT, json.dumps(found))


@pytest.mark.usefixtures("fake")
def test_a_family_that_raises_costs_its_points_and_not_the_search(
    ctx: Context, caplog: pytest.LogCaptureFixture
) -> None:
    class Picky(Costs):
        def broken_by(self, name: str, arch: Any) -> list[str]:
            if name == "lenet":
                raise ValueError("no shape rule for layer Conv4D")
            return super().broken_by(name, arch)

    found = search(ctx)
    found.costs = Picky(ctx.data.image_shape, ctx.data.num_classes, ctx.budget)
    found.run(4, refine=False)
    assert {row["family"] for row in found.rows} == {"vgg"}
    assert "lenet cannot be counted: no shape rule" in caplog.text
    assert found.tally["an error of lenet"]


@pytest.mark.usefixtures("fake")
def test_a_search_that_finds_fewer_networks_says_so(
    ctx: Context, caplog: pytest.LogCaptureFixture
) -> None:
    found = search(ctx)
    choices = {"init": ("lsuv",), "dropout": (0.0,), "norm": ("batch",), "width": (8,)}
    found.space = Space(("vgg",), choices=choices)
    found.costs = Costs(ctx.data.image_shape, ctx.data.num_classes, Budget(flops="600k"))
    found.run(50, refine=False)
    assert 0 < len(found.rows) < 50
    assert f"found no more than {len(found.rows)} of 50 networks" in caplog.text


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("oracle", [pytest.param("bayesian", marks=pytest.mark.slow), "random"])
def test_bounds_on_the_file_are_kept_and_few_files_are_made(
    ctx: Context, oracle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    convert = Costs.exported
    monkeypatch.setattr(
        Costs, "exported", lambda self, *point: made.append(point) or convert(self, *point)
    )
    found = search(replace(ctx, budget=Budget(flops="2M", tflite_bytes="60k")), oracle)
    found.run(5, refine=False)
    assert len(found.rows) == 5
    assert all(row["tflite_bytes"] <= 60_000 for row in found.rows)
    assert len(made) < 40


def test_a_trial_that_would_not_end_in_time_is_given_fewer_epochs(ctx: Context) -> None:
    found = search(ctx, seconds=100.0)
    found.rows[:] = [
        {"trial_id": str(i), "history": {"val/loss": [1.0] * 2}, "seconds": 9.0, "epoch_seconds": i}
        for i in (2, 4)
    ]
    found.time.seconds = None
    assert found.time.affordable(Span(0, 30), None) == 30
    found.time.seconds = 100.0
    found.time.before = 60.0
    assert found.time.affordable(Span(3, 30), "4") == int((timing.SAFETY * 40 - 1) / 4)
    found.time.before = 99.0
    assert found.time.affordable(Span(3, 30), "4") == 1


def test_a_search_ends_when_its_time_is_up(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "run", slowly)
    found = search(ctx, seconds=1.5)
    began = time.monotonic()
    found.run(1000, refine=False)
    assert 1 <= len(found.rows) <= 8
    assert time.monotonic() - began < 30


def test_a_search_that_runs_out_of_time_says_so(
    ctx: Context, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trial, "run", slowly)
    found = search(ctx, seconds=2.0)
    found.run(1000, refine=False)
    assert f"the time was up after {len(found.rows)} of 1000 networks" in caplog.text
    assert "found no more than" not in caplog.text


def test_points_are_not_refused_because_the_time_is_up(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = search(ctx, seconds=3600.0)
    monkeypatch.setattr(trial, "run", slowly)
    fits = Costs.broken_by

    def late(self: Costs, *point: Any) -> list[str]:
        if len(found.rows) == 2:
            found.time.before = 3600.0
            found._fits({})  # raises: it is not what the point is like
        return fits(self, *point)

    monkeypatch.setattr(Costs, "broken_by", late)
    found.run(50, refine=False)
    assert len(found.rows) == 2
    assert found.refused == sum(found.tally.values())


@pytest.mark.slow
def test_without_a_number_of_trials_the_time_decides(
    ctx: Context, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(trial, "run", slowly)
    until = time.monotonic() + 8
    found = search(ctx, "evolution", until=until)
    found.run(None, refine=False)
    assert len(found.rows) >= 1
    assert time.monotonic() < until + 5
    assert f"the time was enough for {len(found.rows)} networks" in caplog.text


@pytest.mark.slow
def test_time_that_the_best_network_leaves_goes_to_others(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "run", paced)
    for oracle in ("hyperband", "priorband"):
        until = time.monotonic() + 18
        found = search(replace(ctx, directory=ctx.run_dir / oracle), oracle, until=until)
        found.run(None, refine=False)
        assert until - 6 < time.monotonic() < until + 5


@pytest.mark.slow
def test_in_limited_time_the_best_network_is_trained_to_the_end(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "run", paced)
    found = search(ctx, "hyperband", seconds=20.0)
    found.run(1000, refine=False)
    longest = max(r["settings"]["epochs"] for r in found.rows if r["error"] is None)
    assert 0.7 * EPOCHS < longest <= EPOCHS  # a busy machine leaves time for a shorter schedule
    assert len(found.rows) > 3


@pytest.mark.slow
@pytest.mark.usefixtures("fake")
def test_nothing_within_the_bounds_says_what_refused_it(ctx: Context) -> None:
    found = search(replace(ctx, budget=Budget(flops="2M", tflite_bytes=1, flops_at_least=0.2)))
    found.space = replace(found.space, families=("lenet",))
    found.run(3, refine=False)
    assert found.rows == []
    assert "0 of" in found.why()
    assert "tflite_bytes" in found.why()
