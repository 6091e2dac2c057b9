"""Attempts in parts and within a time, and the order in which rungs are tried."""

import time
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
    """A stage whose score rises with the epochs that it has been trained for in all."""

    Config = Config
    gauge = None

    def __init__(self, *scores: float) -> None:
        self.scores, self.ran = scores, list[tuple[str, int, bool]]()

    def run(self, source: Artifact, config: Config, ctx: Context) -> Artifact:
        self.ran.append((source.directory.name, config.epochs, ctx.trains_on))
        for epoch in range(1, config.epochs + 1):
            ctx.curve(epoch, {"val/loss": 1.0})
        model = keras.models.load_model(source.model_path, compile=False)
        score = self.scores[min(len(self.ran), len(self.scores)) - 1]
        details = Details(history={"val/loss": [1.0] * config.epochs})
        return ctx.save_keras(model, source, details=details, metrics={"val_accuracy": score})


def attempts(
    stage: Learner, source: Artifact, ctx: Context, epochs: int = 8, **more: Any
) -> Attempts:
    """Attempts with one rung; an attempt has to keep 0.9 of 0.92."""
    ladder = Ladder((Config(epochs=epochs),), start=0, **{"in_parts": True, **more})
    return Attempts(stage, ladder, source, Goal(0.9, 0.92, 400), ctx)  # type: ignore[arg-type]


# parts


def test_what_holds_after_its_first_part_is_not_trained_further_at_once(
    ctx: Context, source: Artifact
) -> None:
    stage = Learner(0.91, 0.92)
    made = attempts(stage, source, ctx)
    held = made.make(0, source, held=False)
    assert stage.ran == [("01-finetune", 4, False)]
    assert held
    kept = made.finished(0, held)
    assert stage.ran[1:] == [("attempt-0", 4, True)]
    assert kept.metrics["val_accuracy"] == 0.92
    assert len(kept.details.history["val/loss"]) == 8
    assert ctx.log.steps == [*range(1, 9)]  # type: ignore[attr-defined]
    assert made.finished(0, kept) is kept


def test_what_goes_on_is_judged_earlier_and_has_had_the_epochs_of_what_it_goes_on_from(
    ctx: Context, source: Artifact
) -> None:
    stage = Learner(0.91, 0.895, 0.91, 0.91)
    ladder = Ladder((Config(epochs=8), Config(epochs=8)), 0, lambda *_: True, in_parts=True)
    made = Attempts(stage, ladder, source, Goal(0.9, 0.92, 400), ctx)  # type: ignore[arg-type]
    first = made.make(0, source, held=False)
    assert first
    second = made.make(1, first, held=True)
    assert second
    assert stage.ran == [
        ("01-finetune", 4, False),
        ("attempt-0", 2, False),
        ("attempt-1", 2, True),
    ]
    assert made.finished(1, second) is second  # 4 + 2 + 2 epochs
    made.finished(0, first)
    assert stage.ran[3:] == [("attempt-0", 4, True)]


@pytest.mark.parametrize(("score", "parts"), [(0.895, 2), (0.5, 1)])
def test_what_is_near_the_floor_is_trained_further_and_what_is_far_is_not(
    score: float, parts: int, ctx: Context, source: Artifact
) -> None:
    stage = Learner(score, 0.91)
    made = attempts(stage, source, ctx).make(0, source, held=False)
    assert made
    assert len(stage.ran) == parts
    assert made.metrics["val_accuracy"] == (score if parts == 1 else 0.91)


def test_the_better_part_is_kept(ctx: Context, source: Artifact) -> None:
    made = attempts(Learner(0.91, 0.85), source, ctx)
    held = made.make(0, source, held=False)
    assert held
    assert made.finished(0, held) is held


def test_few_epochs_are_not_divided(ctx: Context, source: Artifact) -> None:
    stage = Learner(0.91)
    attempts(stage, source, ctx, epochs=3).make(0, source, held=False)
    assert stage.ran == [("01-finetune", 3, False)]


def test_what_a_killed_run_has_made_is_read(ctx: Context, source: Artifact) -> None:
    stage = Learner(0.895, 0.91)
    first = attempts(stage, source, ctx).make(0, source, held=False)
    again = attempts(stage, source, ctx).make(0, source, held=False)
    assert len(stage.ran) == 2
    assert again == first
    tidy(ctx.directory)
    assert [*ctx.directory.iterdir()] == []


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
    stage = Learner(0.91)
    given = timed(source, 100.0)  # 160 s with what compression adds
    attempts(stage, given, limited(ctx, 500)).make(0, given, held=False)
    assert [epochs for _, epochs, _ in stage.ran] == [3]
    assert "trains 3 epochs of 4" in caplog.text


def test_a_later_attempt_begins_only_if_it_ends_in_time(ctx: Context, source: Artifact) -> None:
    stage = Learner(0.91)
    given = timed(source, 100.0)
    made = attempts(stage, given, limited(ctx, 500))
    assert made.make(0, given, held=True) is None
    assert stage.ran == []


def test_where_no_epoch_fits_there_is_no_attempt_unless_it_is_vital(
    ctx: Context, source: Artifact
) -> None:
    stage, given = Learner(0.91), timed(source, 100.0)
    assert attempts(stage, given, limited(ctx, 50)).make(0, given, held=False) is None
    vital = attempts(stage, given, limited(ctx, 50), vital=True)
    assert vital.make(0, given, held=False)
    assert [epochs for _, epochs, _ in stage.ran] == [1]


def test_a_second_part_that_does_not_fit_is_left_out(ctx: Context, source: Artifact) -> None:
    stage = Learner(0.91, 0.92)
    made = attempts(stage, source, limited(ctx, 700))
    held = made.make(0, source, held=False)
    assert held
    made.seconds, made.timed = 4000.0, 4  # as if it had taken so long
    assert made.finished(0, held) is held
    assert len(stage.ran) == 1


def test_a_source_of_unknown_speed_is_tried(ctx: Context, source: Artifact) -> None:
    stage = Learner(0.91)
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


def test_from_what_is_foretold_the_neighbours_are_tried_next() -> None:
    assert order(9, start=6, strongest=6, foretold=True) == [6, 7]
    assert order(9, start=6, strongest=5, foretold=True) == [6, 5]
    assert order(9, start=3, strongest=8, foretold=True) == [3, 4, 6, 7, 8]


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
