"""Attempts in parts and within a time, and the order in which rungs are tried."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import pytest
from support.guarded import ctx as ctx
from support.guarded import source as source

from pipeline.artifact import Artifact
from pipeline.attempts import Attempts, Search, tidy
from pipeline.context import Context
from pipeline.data.datasets import Dataset
from pipeline.details import Details
from pipeline.stage import Ladder, StageConfig
from pipeline.train.prospects import Goal


class Config(StageConfig):
    """Trains for some epochs."""

    epochs: int = 8


class Learner:
    """A stage that notes the epochs of its runs."""

    Config = Config
    gauge = None

    def __init__(self) -> None:
        self.ran = list[int]()

    def run(self, source: Artifact, config: Config, ctx: Context) -> Artifact:
        self.ran.append(config.epochs)
        assert ctx.attempt
        assert ctx.attempt.shared.parent == ctx.run_dir
        for epoch in range(1, config.epochs + 1):
            ctx.curve(epoch, {"val/loss": 1.0})
        model = keras.models.load_model(source.model_path, compile=False)
        details = Details(history={"val/loss": [1.0] * config.epochs})
        return ctx.save_keras(model, source, details=details, metrics={"val_accuracy": 0.91})


def attempts(
    stage: Learner, source: Artifact, ctx: Context, epochs: int = 8, **more: Any
) -> Attempts:
    """Attempts with one rung; an attempt has to keep 0.9 of 0.92."""
    ladder = Ladder((Config(epochs=epochs),), start=0, **more)
    return Attempts(stage, ladder, source, Goal(0.9, 0.92, 400), ctx)  # type: ignore[arg-type]


def test_what_a_killed_run_has_made_is_read_also_when_no_time_is_left(
    ctx: Context, source: Artifact
) -> None:
    stage = Learner()
    first = attempts(stage, source, limited(ctx, 60)).make(0, source, held=False)
    for seconds in (60, -1):
        again = attempts(stage, source, limited(ctx, seconds))
        assert again.make(0, source, held=True) == first
        assert again.epochs == 8
    assert stage.ran == [8]
    attempts(stage, source, ctx).make(0, source, held=False)  # without a limit, it is another
    assert stage.ran == [8, 8]


# time


def limited(ctx: Context, seconds: float) -> Context:
    return replace(ctx, until=time.monotonic() + seconds)


def timed(source: Artifact, seconds: float) -> Artifact:
    """The input, whose training took so many seconds an epoch."""
    known = source.telling(history={"val/loss": [1.0] * 10})
    return known.model_copy(update={"seconds": 10 * seconds})


def test_the_first_attempt_has_as_many_epochs_as_fit(
    ctx: Context, source: Artifact, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Learner()
    given = timed(source, 100.0)  # 160 s with what compression adds
    attempts(stage, given, limited(ctx, 500)).make(0, given, held=False)
    assert stage.ran == [3]
    assert "trains 3 epochs of 8" in caplog.text


def test_a_later_attempt_begins_only_if_it_ends_in_time(ctx: Context, source: Artifact) -> None:
    stage = Learner()
    given = timed(source, 100.0)
    made = attempts(stage, given, limited(ctx, 500))
    assert made.make(0, given, held=True) is None
    assert stage.ran == []


def test_where_no_epoch_fits_there_is_no_attempt_unless_it_is_vital(
    ctx: Context, source: Artifact
) -> None:
    stage, given = Learner(), timed(source, 100.0)
    assert attempts(stage, given, limited(ctx, 50)).make(0, given, held=False) is None
    vital = attempts(stage, given, limited(ctx, 50), vital=True)
    assert vital.make(0, given, held=False)
    assert stage.ran == [1]


def test_the_seconds_of_attempts_decide_once_there_are_some(ctx: Context, source: Artifact) -> None:
    stage = Learner()
    for epochs, fits in ((16, False), (8, True)):
        made = attempts(stage, source, limited(ctx, 700), epochs=epochs)
        made.epochs, made.seconds = 8, 400.0  # eight more would take as long
        assert (made.make(0, source, held=True) is not None) == fits


def test_a_source_of_unknown_speed_is_tried(ctx: Context, source: Artifact) -> None:
    stage = Learner()
    assert attempts(stage, source, limited(ctx, 60)).make(0, source, held=False)
    assert (
        attempts(stage, source, limited(ctx, -1)).make(0, source, held=False) is None or stage.ran
    )


# order


def order(count: int, start: int, strongest: int, foretold: bool) -> list[int]:
    """The rungs that are tried if all up to one hold."""
    search, tried = Search(count, start, foretold), list[int]()
    while not search.is_over:
        tried.append(search.rung)
        search.note(search.rung <= strongest)
    assert search.held == strongest
    return tried


def test_if_what_is_foretold_does_not_hold_the_next_milder_is_tried() -> None:
    assert order(9, start=6, strongest=5, foretold=True) == [6, 5]
    assert order(9, start=6, strongest=3, foretold=True) == [6, 5, 3, 4]
    assert order(9, start=6, strongest=6, foretold=True) == [6, 7]
    assert order(9, start=3, strongest=8, foretold=True) == [3, 6, 7, 8]


def test_every_strongest_is_found_from_every_start() -> None:
    for foretold in (True, False):
        for start in range(9):
            for strongest in range(-1, 9):
                tried = order(9, start, strongest, foretold)
                assert len(tried) == len(set(tried)) <= 6


def test_without_it_the_range_is_halved() -> None:
    assert order(9, start=3, strongest=8, foretold=False) == [3, 6, 7, 8]


def test_directories_of_attempts_are_told_from_others(squares: Dataset, tmp_path: Path) -> None:
    (tmp_path / "attempt-1").mkdir()
    (tmp_path / "other").mkdir()
    tidy(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def tries(count: int, start: int, holds: Callable[[int, int], bool]) -> list[tuple[int, int]]:
    """Rungs in the order in which they are tried, each with what held by then."""
    search, tried = Search(count, start, foretold=True), list[tuple[int, int]]()
    while not search.is_over or search.again():
        tried.append((search.rung, search.held))
        search.note(holds(search.rung, search.held))
    return [*tried, (search.held, -1)]


def test_a_rung_that_failed_from_something_milder_is_tried_again_from_what_holds() -> None:
    # 3 holds only when it goes on from 2
    tried = tries(5, 3, lambda rung, held: rung < 3 or (rung == 3 and held == 2))
    assert tried == [(3, -1), (2, -1), (3, 2), (4, 3), (3, -1)]


def test_a_rung_is_not_tried_again_from_what_it_failed_from() -> None:
    tried = tries(5, 2, lambda rung, held: rung <= 2)
    assert tried == [(2, -1), (3, 2), (2, -1)]


def test_a_rung_that_cannot_be_done_is_not_tried_again() -> None:
    search = Search(3, 1, foretold=True)
    search.note(holds=False, known=True)
    search.note(holds=True)
    assert search.is_over
    assert not search.again()
