"""The loop of a search: what ends a trial, what ends the search, what is left for the report."""

import json
import logging
import os
import re
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.context import make_context

from pipeline.budget import Budget
from pipeline.data.datasets import Dataset
from pipeline.search import loop, trial
from pipeline.search.costs import Costs
from pipeline.search.loop import Plan, Searcher
from pipeline.search.oracles.base import Span
from pipeline.search.ranking import networks, trade_offs
from pipeline.search.space import Space
from pipeline.stage import Context
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


def paced(task: trial.Task, **options: Any) -> None:
    """A trial of 0.1 s, and 0.2 s an epoch."""
    seconds = 0.1 + 0.2 * task.epochs
    time.sleep(seconds)
    pretend(task, **options)
    found = json.loads((task.directory / trial.RESULT).read_text()) | {"epoch_seconds": 0.2}
    found |= {"seconds": seconds}
    write_atomic(task.directory / trial.RESULT, json.dumps(found))


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


@pytest.mark.usefixtures("fake")
def test_a_trial_that_dies_or_raises_is_failed_and_the_search_goes_on(ctx: Context) -> None:
    found = search(ctx)
    found.run(8, refine=False)
    assert [row["status"] for row in found.rows] == [
        "FAILED" if str(number) in (KILLED, RAISED) else "COMPLETED" for number in range(8)
    ]
    assert "when memory runs out" in found.rows[2]["error"].splitlines()[-1]
    assert "MemoryError" in found.rows[4]["error"]
    assert ctx.log.trials == found.rows  # type: ignore[attr-defined]
    assert {row["trial_id"] for row in networks(found.rows)}.isdisjoint({KILLED, RAISED})


@pytest.mark.usefixtures("fake")
def test_every_row_is_within_the_budget_and_says_what_it_is(ctx: Context) -> None:
    found = search(ctx)
    found.run(8, refine=False)
    for row in found.rows:
        assert 20_000 <= row["flops"] <= 2_000_000
        assert row["settings"]["optimizer"] == "adam"
        assert row["settings"]["epochs"] == EPOCHS
        assert (ctx.directory / row["directory"]).is_dir()
    drawn = found.admitted + found.refused
    assert found.admitted == 8
    assert f"8 of {drawn} points drawn fit the budget" in found.acceptance()


@pytest.mark.usefixtures("fake")
def test_a_resumed_search_reads_what_has_ended_and_trains_the_rest(ctx: Context) -> None:
    whole = search(ctx)
    whole.run(6, refine=False)
    trained = {p.parent.name: p.stat().st_mtime_ns for p in ctx.directory.rglob("result.json")}
    again = search(ctx)
    again.run(7, refine=False)
    assert again.rows[:6] == whole.rows
    now = {p.parent.name: p.stat().st_mtime_ns for p in ctx.directory.rglob("result.json")}
    assert {name: now[name] for name in trained} == trained
    assert len(now) == 7


def test_a_network_counts_once_with_its_best_trial() -> None:
    def row(trial_id: str, parent: str | None, accuracy: float) -> dict[str, Any]:
        scores = {"val_accuracy": accuracy, "val_loss": 1.0, "flops": 1}
        return {"trial_id": trial_id, "parent": parent, "status": "COMPLETED", **scores}

    rows = [row("0", None, 0.7), row("1", None, 0.9), row("2", "1", 0.8), row("3", "0", 0.75)]
    assert [found["trial_id"] for found in networks(rows)] == ["1", "3"]


@pytest.mark.usefixtures("fake")
def test_promoted_networks_are_trained_further(ctx: Context) -> None:
    found = search(ctx, "hyperband")
    found.run(9, refine=False)
    parents = {row["parent"] for row in found.rows if row["parent"]}
    assert len(parents) == 4
    assert len(networks(found.rows)) == 9 - 2  # those that failed at once
    last = found.rows[-1]
    assert (last["first_epoch"], last["settings"]["epochs"]) == (3, 9)


@pytest.mark.slow
def test_the_same_seed_makes_the_same_trials_with_the_same_scores(ctx: Context) -> None:
    runs = []
    for name in ("one", "two"):
        found = search(replace(ctx, directory=ctx.run_dir / name), "hyperband", epochs=3)
        found.run(5, refine=False)
        told = ("trial_id", "parent", "family", "arch", "settings", "val_accuracy", "history")
        runs.append([{key: row[key] for key in told} for row in found.rows])
    assert runs[0] == runs[1]
    assert any(row["parent"] for row in runs[0])
    assert all(row["val_accuracy"] is not None for row in runs[0])


@pytest.mark.usefixtures("fake")
def test_a_refined_round_is_another_search_around_the_best(ctx: Context) -> None:
    found = search(ctx)
    found.run(9, refine=True)
    second = [row for row in found.rows if row["trial_id"].startswith("refined-")]
    assert len(found.rows) - len(second) == 5
    best = networks(found.rows[:5])[:3]
    rates = [row["settings"]["learning_rate"] for row in best]
    for row in second:
        assert row["family"] in {one["family"] for one in best}
        assert min(rates) / 1.5 <= row["settings"]["learning_rate"] <= max(rates) * 1.5


@pytest.mark.slow
@pytest.mark.usefixtures("fake")
def test_a_refined_hyperband_lies_around_three_networks_and_not_trials_of_one(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    refined = loop.refined
    monkeypatch.setattr(loop, "refined", lambda s, b: seen.extend(b) or refined(s, b))
    found = search(ctx, "hyperband")
    found.run(18, refine=True)
    plain = [{k: v for k, v in values.items() if "tuner" not in k} for values in seen]
    assert len(plain) == 3
    assert all(one != other for i, one in enumerate(plain) for other in plain[:i])


@pytest.mark.slow
def test_a_refined_search_in_limited_time_has_both_rounds(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop.trial, "run", slowly)
    found = search(ctx, seconds=20.0)
    found.run(1000, refine=True)
    second = [row for row in found.rows if row["trial_id"].startswith("refined-")]
    assert 0 < len(second) < len(found.rows)


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
@pytest.mark.parametrize("oracle", ["bayesian", "random"])
def test_bounds_on_the_file_are_kept_and_few_files_are_made(
    ctx: Context, oracle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    convert = Costs.exported
    monkeypatch.setattr(
        Costs, "exported", lambda self, *point: made.append(point) or convert(self, *point)
    )
    found = search(replace(ctx, budget=Budget(flops="2M", tflite_bytes="60k")), oracle)
    found.run(11, refine=False)
    assert len(found.rows) == 11
    assert all(row["tflite_bytes"] <= 60_000 for row in found.rows)
    assert len(made) < 80


@pytest.mark.usefixtures("fake")
def test_the_front_is_what_no_other_beats_in_accuracy_and_cost(ctx: Context) -> None:
    found = search(ctx, "evolution", against="flops")
    found.run(20, refine=False)
    kept = trade_offs(found.rows, "flops")
    assert [row["flops"] for row in kept] == sorted(row["flops"] for row in kept)
    for row in networks(found.rows):
        beaten = any(
            one["flops"] <= row["flops"] and one["val_accuracy"] >= row["val_accuracy"]
            for one in kept
        )
        assert beaten


def test_a_trial_that_would_not_end_in_time_is_given_fewer_epochs(ctx: Context) -> None:
    found = search(ctx, seconds=100.0)
    found.rows = [
        {"trial_id": str(i), "history": {"val/loss": [1.0] * 2}, "seconds": 9.0, "epoch_seconds": i}
        for i in (2, 4)
    ]
    assert found._affordable(Span(0, 30), None) == 30
    found._until = 100.0
    found._before = 60.0
    assert found._affordable(Span(3, 30), "4") == int((loop.SAFETY * 40 - 1) / 4)
    found._before = 99.0
    assert found._affordable(Span(3, 30), "4") == 1


def test_a_search_ends_when_its_time_is_up(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop.trial, "run", slowly)
    found = search(ctx, seconds=1.5)
    began = time.monotonic()
    found.run(1000, refine=False)
    assert 1 <= len(found.rows) <= 8
    assert time.monotonic() - began < 30


@pytest.mark.slow
def test_in_limited_time_the_best_network_is_trained_to_the_end(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop.trial, "run", paced)
    found = search(ctx, "hyperband", seconds=20.0)
    found.run(1000, refine=False)
    assert max(r["settings"]["epochs"] for r in found.rows if r["error"] is None) == EPOCHS
    assert len(found.rows) > 3


@pytest.mark.usefixtures("fake")
def test_nothing_within_the_bounds_says_what_refused_it(ctx: Context) -> None:
    found = search(replace(ctx, budget=Budget(flops="2M", tflite_bytes=1, flops_at_least=0.2)))
    found.space = replace(found.space, families=("lenet",))
    found.run(3, refine=False)
    assert found.rows == []
    assert "0 of" in found.why()
    assert "tflite_bytes" in found.why()


def test_a_promoted_network_goes_on_from_its_weights(
    ctx: Context, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    found = search(ctx, "hyperband", epochs=3)
    found.space = Space(("lenet",), ("adam",), (0.003, 0.003), batch_sizes=(8,))
    found.run(3, refine=False)
    *first, last = found.rows
    parent = next(row for row in first if row["trial_id"] == last["parent"])
    assert parent["error"] is None
    assert last["error"] is None, last["error"]
    assert last["history"]["train/loss"][0] < parent["history"]["train/loss"][0]
    assert last["memory_bytes"] > 1e8
    told = re.findall(r"trial_\d+ (\d)/(\d) ", caplog.text)
    assert told == [("1", "1")] * len(first) + [("2", "3"), ("3", "3")]
