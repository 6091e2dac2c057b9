"""Several trials at once: how many, in which order they come back, and that it changes nothing."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.context import RecordingLog
from support.faked import KILLED, overlapping, pretend, unevenly
from support.pretended import ctx as ctx
from support.pretended import fake as fake
from support.pretended import search

from pipeline.context import Context
from pipeline.search import crew, trial

TOLD = ("trial_id", "parent", "first_epoch", "family", "arch", "settings", "val_accuracy", "status")


def told(found: Any) -> list[dict[str, Any]]:
    return [{key: row[key] for key in TOLD} for row in found.rows]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_no_more_trials_run_at_once_than_asked_for(
    ctx: Context, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "run", overlapping)
    search(ctx, workers=workers).run(4, refine=False)
    counts = [int(line) for line in (ctx.directory / "trials" / "seen").read_text().split()]
    assert max(counts) == workers


def test_the_order_does_not_depend_on_which_process_is_faster(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "run", unevenly)
    found = search(ctx, "evolution", workers=2)
    found.run(8, refine=False)
    assert [int(row["trial_id"]) for row in found.rows] == list(range(8))


@pytest.mark.slow
@pytest.mark.parametrize("oracle", ["evolution", "priorband"])
def test_the_same_seed_and_workers_make_the_same_trials_whichever_is_faster(
    ctx: Context, oracle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    for name, run in (("even", pretend), ("uneven", unevenly)):
        monkeypatch.setattr(trial, "run", run)
        found = search(replace(ctx, directory=ctx.run_dir / name), oracle, workers=2)
        found.run(9, refine=False)
        runs.append(told(found))
    assert runs[0] == runs[1]


@pytest.mark.usefixtures("fake")
def test_hyperband_promotes_the_same_networks_as_with_one_at_a_time(ctx: Context) -> None:
    runs = []
    for workers in (1, 3):
        own = replace(ctx, directory=ctx.run_dir / str(workers))
        found = search(own, "hyperband", workers=workers)
        found.run(12, refine=False)
        runs.append(told(found))
    assert runs[0] == runs[1]
    assert sum(row["parent"] is not None for row in runs[0]) >= 4


@pytest.mark.usefixtures("fake")
def test_a_process_that_dies_costs_its_own_trial_alone(ctx: Context) -> None:
    found = search(ctx, workers=2)
    found.run(6, refine=False)
    failed = [row["trial_id"] for row in found.rows if row["status"] == "FAILED"]
    assert failed == [KILLED, "4"]


class Interrupting(RecordingLog):
    """A log that ends the search as Ctrl-C does, when the fifth trial has ended."""

    def trial(self, row: Mapping[str, Any]) -> None:
        super().trial(row)
        if len(self.trials) == 5:
            raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("oracle", ["hyperband", "evolution"])
def test_an_interrupted_search_of_two_workers_goes_on_as_if_it_had_not_been(
    ctx: Context, oracle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "run", unevenly)
    whole = search(replace(ctx, directory=ctx.run_dir / "whole"), oracle, workers=2)
    whole.run(9, refine=False)
    own = replace(ctx, directory=ctx.run_dir / "interrupted")
    with pytest.raises(KeyboardInterrupt):
        search(replace(own, log=Interrupting()), oracle, workers=2).run(9, refine=False)
    again = search(own, oracle, workers=2)
    again.run(9, refine=False)
    assert told(again) == told(whole)


SCRIPT = """
from pathlib import Path
import support.pretended as pretended
from support.context import RecordingLog
from support.faked import unevenly
from support.context import make_context
from pipeline.budget import Budget
from pipeline.search import trial
from pipeline.data import datasets
trial.run = unevenly
data = datasets.load(datasets.DataConfig(image_size=8), 0)
ctx = make_context(Path({place!r}), data, budget=Budget(flops="2M", flops_at_least=0.01))
found = pretended.search(ctx, "hyperband", workers=2)
found.run(5, refine=False)
for row in found.rows:
    print(row["trial_id"], row["parent"], row["first_epoch"], row["settings"]["learning_rate"])
"""


def started(place: Path) -> subprocess.Popen[str]:
    tests = Path(__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(place=str(place))],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{tests.parent}:{tests}"},
    )


@pytest.mark.slow
def test_a_killed_search_of_two_workers_ends_as_if_it_had_not_been_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trial, "run", trial.run)  # which the script changes
    exec(SCRIPT.format(place=str(tmp_path / "whole")), {})
    whole = capsys.readouterr().out
    killed = started(tmp_path / "killed")
    results = tmp_path / "killed" / "trials"
    for _ in range(3000):
        if len(list(results.glob("*/result.json"))) >= 2:
            break
        time.sleep(0.1)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert 2 <= len(list(results.glob("*/result.json"))) < len(whole.splitlines())
    again, _ = started(tmp_path / "killed").communicate(timeout=300)
    assert again == whole
    assert len(whole.splitlines()) >= 5


@pytest.mark.parametrize(
    ("asked", "cores", "timed", "expected"),
    [
        ("auto", 1, False, (1, None)),
        ("auto", 2, False, (2, 1)),
        ("auto", 64, False, (crew.MOST, 8)),
        ("auto", 4, True, (1, None)),
        (1, 4, False, (1, None)),
        (3, 2, False, (3, 1)),
        (2, 6, False, (2, 3)),
        (2, 6, True, (1, None)),
    ],
)
def test_how_many_at_once(
    asked: Any,
    cores: int,
    timed: bool,
    expected: tuple[int, int | None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(crew.threads, "cores", lambda: cores)
    monkeypatch.setattr(crew, "_fitting", lambda: 16)
    assert crew.size(asked, 12, timed) == expected
    assert ("latencies are measured between" in caplog.text) == (timed and asked != 1)
    assert ("trials at once" in caplog.text) == (expected[0] > 1)


def test_no_more_at_once_than_there_are_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew.threads, "cores", lambda: 4)
    assert crew.size("auto", 2, False) == (2, 2)
