"""The loop of a search: what ends a trial, and what is left for the report."""

import logging
import re
from dataclasses import replace
from typing import Any

import pytest
from support.faked import KILLED, RAISED, slowly
from support.pretended import EPOCHS, search
from support.pretended import ctx as ctx
from support.pretended import fake as fake

from pipeline.context import Context
from pipeline.search import loop, trial
from pipeline.search.ranking import networks
from pipeline.search.space import Space


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
        found.run(3, refine=False)
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
    monkeypatch.setattr(trial, "run", slowly)
    found = search(ctx, seconds=12.0)
    found.run(1000, refine=True)
    second = [row for row in found.rows if row["trial_id"].startswith("refined-")]
    assert 0 < len(second) < len(found.rows)


@pytest.mark.slow
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


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("oracle", ["hyperband", "evolution"])
def test_the_objective_ranks_and_decides_who_is_promoted(ctx: Context, oracle: str) -> None:
    ctx = replace(ctx, objective="macro_f1")
    found = search(ctx, oracle, score="val_macro_f1")
    found.run(6, refine=False)
    done = [row for row in found.rows if row["status"] == "COMPLETED"]
    best = max(done, key=lambda row: row["val_macro_f1"])
    assert best["val_accuracy"] == min(row["val_accuracy"] for row in done)
    first = networks(found.rows, "val_macro_f1")[0]
    assert first["val_macro_f1"] == best["val_macro_f1"]
    if oracle == "hyperband":
        scores = {row["trial_id"]: row.get("val_macro_f1") for row in found.rows}
        starts = [row["trial_id"] for row in done if not row["parent"]]
        gone_on = {row["parent"] for row in found.rows if row["parent"]}
        assert max(starts, key=lambda key: scores[key]) in gone_on


@pytest.mark.usefixtures("fake")
def test_settings_that_all_trials_have_are_those_of_later_training(ctx: Context) -> None:
    found = search(ctx, fixed={"class_weights": "auto", "sampling": "balanced"})
    found.run(2, refine=False)
    for row in found.rows:
        assert (row["settings"]["class_weights"], row["settings"]["sampling"]) == (
            "auto",
            "balanced",
        )


@pytest.mark.usefixtures("fake")
def test_after_each_trial_a_line_says_how_far_the_search_is(
    ctx: Context, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flopsmith")
    found = search(replace(ctx, then="finetune"))
    found.run(4, refine=False)
    said = [line for line in caplog.messages if line.startswith("search: trial ")]
    assert len(said) == len(found.rows) == 4
    for number, (line, _) in enumerate(zip(said, found.rows, strict=True), 1):
        best = max(r["val_accuracy"] for r in found.rows[:number] if not r["error"])
        assert f"; {number} of 4 networks, best val_accuracy {best:.4f}" in line
        assert line.endswith("then finetune")
        assert ("left" in line) == (number < 4)
