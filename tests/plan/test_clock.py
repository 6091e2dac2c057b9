"""The clock of a run: who gets how much of the minutes, and what is refused and said."""

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.recipes import Read
from support.recipes import read as read

import pipeline
from pipeline.artifact import Artifact
from pipeline.data.datasets import Dataset
from pipeline.errors import RecipeError
from pipeline.plan import clock as clocks
from pipeline.plan import overview
from pipeline.plan.clock import Clock, Need, shared
from pipeline.train import speed

TEXT = """description: Mine
data: digits
budget: {flops: 6M}
stages: [search, finetune, prune: {epochs: 4}, export, report]
"""
NAMES = ["01-search", "02-finetune", "03-prune", "04-export", "05-report"]
Make = Callable[..., Clock]


@pytest.fixture
def make(read: Read, few_digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A clock of a recipe on a machine of known speed."""
    monkeypatch.setattr(speed, "flops_per_second", lambda: clocks.SPEED)

    def made(overrides: str = "minutes=10", text: str = TEXT, spent: float = 0.0) -> Clock:
        loaded = read(text, overrides)
        found = clocks.make(loaded, few_digits, tmp_path / "out", False, time.monotonic() - spent)
        assert found is not None
        return found

    return made


def test_without_minutes_there_is_no_clock(read: Read, few_digits: Dataset, tmp_path: Path) -> None:
    assert clocks.make(read(TEXT), few_digits, tmp_path, False, 0.0) is None


def test_all_of_the_time_is_shared_out(make: Make) -> None:
    made = make("minutes=20")
    given = shared(made.left, made.needs())
    assert sum(given) == pytest.approx(made.left, abs=1)
    by_name = dict(zip([step.name for step in made.steps], given, strict=True))
    assert by_name["finetune"] > by_name["search"] > by_name["prune"] > by_name["export"]


def test_a_stage_gets_no_more_than_it_can_use() -> None:
    needs = [Need("search", 10, share=4), Need("prune", 5, most=20, share=4), Need("export", 5)]
    assert shared(100, needs) == [75, 20, 5]
    assert shared(30, needs) == pytest.approx([15, 10, 5])


def test_too_little_time_is_shared_as_the_least_is() -> None:
    assert shared(10, [Need("search", 15, share=4), Need("export", 5)]) == [7.5, 2.5]
    assert shared(-3, [Need("search", 15, share=4)]) == [0]


def test_a_search_of_few_trials_leaves_its_time_to_others(make: Make) -> None:
    open_, few = make("minutes=60"), make("minutes=60 search.trials=2 search.epochs=2")
    needs = {need.name: need for need in few.needs()}
    assert needs["search"].most < math.inf
    assert needs["finetune"].most == math.inf
    assert shared(few.left, few.needs())[1] > shared(open_.left, open_.needs())[1]


def test_too_few_minutes_are_refused_with_what_is_needed(make: Make) -> None:
    with pytest.raises(RecipeError) as caught:
        make("minutes=0.2").check()
    said = str(caught.value)
    assert "minutes: too few for this recipe on this machine. Received: minutes=0.2." in said
    assert "search 0." in said
    least = float(said.partition("at least ")[2].partition(":")[0])
    make(f"minutes={least + 0.1}").check()


def test_a_run_that_goes_on_is_not_refused(
    make: Make, tmp_path: Path, few_digits: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = make("minutes=1").recipe
    code = recipe.fingerprints(pipeline.__version__, few_digits.fingerprint)[0]
    directory = tmp_path / "out" / NAMES[0]
    directory.mkdir(parents=True)
    found = Artifact(stage="search", fingerprint=code, directory=directory, seconds=59.0)
    found.save()
    made = make("minutes=1")
    made.check()
    assert made.spent == 59.0
    assert made.left == pytest.approx(1, abs=0.5)
    assert made.names == NAMES[1:]
    assert "1 min for the whole run, of which 59 s were spent before" in made.plan()
    with caplog.at_level(logging.WARNING, "flopsmith"):
        made.start(NAMES[1], found)
    assert "what is still to do needs at least" in caplog.text


def test_every_start_says_what_is_left_and_what_comes_next(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    made = make("minutes=20", spent=300)
    with caplog.at_level(logging.INFO, "flopsmith"):
        until = made.start(NAMES[0], Artifact(stage="data", fingerprint="", directory=Path()))
    (line,) = caplog.messages
    assert line.startswith("time: 15 min left of 20 min; search has about ")
    assert all(word in line for word in (", then finetune ", ", prune ", ", export ", ", report "))
    assert 60 < until - time.monotonic() < 15 * 60


def test_what_a_stage_leaves_goes_to_the_later_ones(make: Make) -> None:
    source = Artifact(stage="data", fingerprint="", directory=Path())

    def finetune(spent: float) -> float:
        made = make("minutes=20", spent=spent)
        return made.start(NAMES[1], source) - time.monotonic()

    assert finetune(spent=100) > finetune(spent=600)


@pytest.mark.parametrize("times", [1.0, 3.0])
def test_a_network_that_trains_slowly_needs_more_for_compression(make: Make, times: float) -> None:
    made = make("minutes=60")
    usual = {need.name: need for need in made.needs()}["prune"]
    epoch = clocks._epoch(clocks.Machine(clocks.SPEED, (6e6, 6e6), 112))[0]
    source = trained("finetune", 10, seconds=10 * epoch * times)
    made.start(NAMES[2], source)
    assert made.pace == pytest.approx(times)
    slow = made.needs()[0]
    assert (slow.most > 1.01 * usual.most) == (times > 1)


@pytest.mark.parametrize("times", [0.7, 4.0])
def test_a_machine_that_measures_slowly_keeps_more_for_what_is_fixed(
    make: Make, times: float
) -> None:
    made = make("minutes=20")
    export = made.needs()[3].least
    made.start(NAMES[0], Artifact(stage="data", fingerprint="", directory=Path()))
    made.measured(times * made.needs()[0].after)
    assert made.needs()[3].least == pytest.approx(times * export)


def trained(stage: str, epochs: int, **changes: Any) -> Artifact:
    made = Artifact(stage=stage, fingerprint="f", directory=Path(), metrics={"flops": 6e6})
    made = made.model_copy(update=changes)
    return made.telling(history={"val/loss": [1.0] * epochs})


def test_a_stage_without_known_flops_is_planned_with_what_is_fixed(make: Make) -> None:
    text = TEXT.replace("budget: {flops: 6M}", "").replace("search, ", "")
    text = text.replace("stages: [", "stages: [load: {model: x.keras}, ")
    made = make("minutes=10", text)
    assert made.machine is None
    assert sum(shared(made.left, made.needs())) == pytest.approx(made.left, abs=1)


def test_the_overview_shows_the_plan(make: Make, tmp_path: Path) -> None:
    made = make("minutes=12 finetune.epochs=4")
    lines = overview.lines(made.recipe, made.dataset, tmp_path, made)
    (line,) = [line for line in lines if line.startswith("time:")]
    assert line.startswith("time: 12 min for the whole run; planned: search ")
    stages = [line for line in lines if line.startswith("stage")]
    assert "trials as time allows" in stages[0]
    assert "epochs 4" in stages[1]
