"""The guardrail: the strongest settings that keep val accuracy above a floor."""

import logging
import time
from dataclasses import replace
from typing import Any

import keras
import pytest
from support.guarded import RUNGS, Config, Stage, run
from support.guarded import accuracy as accuracy
from support.guarded import ctx as ctx
from support.guarded import source as source

from pipeline import guardrail
from pipeline.artifact import Artifact
from pipeline.context import Context
from pipeline.measure import metrics, reference
from pipeline.stages import cluster, prune, quantize
from pipeline.tflite.classifier import Runner


@pytest.mark.parametrize(
    ("floor", "ran", "kept"),
    [(0.91, [0.9], 0.9), (0.92, [0.9, 0.4, 0.6, 0.8], 0.8), (0.97, [0.9, 0.4, 0.2], 0.2)],
)
def test_what_was_asked_is_kept_if_it_holds_and_else_the_strongest_that_does(
    floor: float, ran: list[float], kept: float, ctx: Context, source: Artifact
) -> None:
    stage = Stage(RUNGS, start=4)
    made = run(stage, floor, ctx, source)
    assert sorted(stage.ran) == sorted(ran)
    assert stage.ran[0] == 0.9
    assert made.settings["strength"] == kept


def test_from_the_middle_the_strongest_that_holds_is_found(ctx: Context, source: Artifact) -> None:
    stage = Stage(RUNGS, start=2)
    assert run(stage, 0.915, ctx, source).settings["strength"] == 0.8
    assert stage.ran == [0.6, 0.8, 0.9]


@pytest.mark.parametrize(
    ("stage", "settings"),
    [
        (prune, {"sparsity": 0.8}),
        (prune, {"sparsity": 0.8, "allocation": "uniform"}),
        (prune, {"allocation": "deviation", "quality": 1.0}),
        (prune, {"pattern": "2:4"}),
        (prune, {}),
        (cluster, {"clusters": 8}),
        (cluster, {}),
        (quantize, {"precision": "int4"}),
        (quantize, {}),
    ],
)
def test_a_stage_is_run_at_most_four_times(
    stage: Any, settings: dict[str, Any], ctx: Context, source: Artifact
) -> None:
    ladder = stage.ladder(stage.Config(**settings))
    count = len(ladder.rungs)
    for held in range(-1, count):  # the strongest rung that holds
        rungs = Stage(tuple(range(1, count + 1)), ladder.start)  # type: ignore[arg-type]
        made = run(rungs, 1 - (held + 1.5) / 10, ctx, source)
        assert len(rungs.ran) <= 4
        assert made.settings.get("strength", 0) == held + 1
        guardrail.tidy(ctx.directory)


def test_every_attempt_is_told_and_nothing_of_them_stays(ctx: Context, source: Artifact) -> None:
    made = run(Stage(RUNGS, start=2), 0.915, ctx, source)
    rows = made.details.attempts
    assert [row["holds"] for row in rows] == [True, True, False]
    assert [row["settings"] for row in rows] == [{"strength": 0.6}, {"strength": 0.8}, {}]
    guardrail.tidy(ctx.directory)
    assert [path.name for path in ctx.directory.iterdir()] == ["model.keras"]
    assert (made.directory, made.parent) == (ctx.directory, "01-finetune")
    assert (made.stage, made.fingerprint) == ("shrink", "abc")


def test_a_ladder_that_goes_on_starts_from_the_last_that_held(
    ctx: Context, source: Artifact
) -> None:
    stage = Stage(RUNGS, start=2, goes_on=True)
    run(stage, 0.915, ctx, source)
    assert stage.sources == ["01-finetune", "attempt-2", "attempt-3"]
    stage = Stage(RUNGS, start=2)
    run(stage, 0.915, ctx, source)
    assert set(stage.sources) == {"01-finetune"}


@pytest.mark.parametrize(
    ("scores", "ran"),
    [
        ([0.95, 0.95, 0.94, 0.8, 0.1], [0.8, 0.9]),  # 0.8 loses a sixth, 0.9 all that was learned
        ([0.95, 0.5, 0.5, 0.5, 0.5], [0.2, 0.6, 0.8, 0.9]),
        ([0.1, 0.1, 0.1, 0.1, 0.1], [0.2, 0.6, 0.8, 0.9]),
        ([0.95, 0.95, 0.95, 0.95, 0.95], [0.9, 0.8]),
    ],
)
def test_the_first_attempt_is_what_is_foretold(
    scores: list[float], ran: list[float], ctx: Context, source: Artifact
) -> None:
    stage = Stage(RUNGS, start=2, regains=0.5)
    gauged = list[Any]()

    def gauge(rungs: Any, given: Artifact, own: Context) -> list[float]:
        gauged.append((rungs, given, own.directory, own.attempt and own.attempt.shared))
        return scores

    stage.gauge = gauge
    made = run(stage, 0.92, ctx, source)
    assert stage.ran == ran
    assert made.settings["strength"] == 0.8
    assert gauged == [(stage.ladder(Config()).rungs, source, ctx.directory, ctx.directory)]


def test_where_no_time_is_left_the_input_is_passed_on_and_that_is_said(
    ctx: Context, source: Artifact, caplog: pytest.LogCaptureFixture
) -> None:
    known = source.telling(history={"val/loss": [1.0]}).model_copy(update={"seconds": 9.0})
    late = replace(ctx, until=time.monotonic() + 5)
    stage = Stage(RUNGS, start=4)
    made = run(stage, 0.92, late, known, epochs=4)
    assert stage.ran == []
    assert made.details.passed_on == "no time was left for a single attempt"
    assert made.model_path
    assert made.model_path.read_bytes() == source.model_path.read_bytes()  # type: ignore[union-attr]
    assert "Allow more minutes" in caplog.text


def test_where_the_time_ends_the_strongest_so_far_is_kept(
    ctx: Context, source: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = replace(ctx, until=time.monotonic() + 1000)
    stage = Stage(RUNGS, start=2)
    whole = Stage.run

    def slow(self: Stage, source: Artifact, config: Config, ctx: Context) -> Artifact:
        made = whole(self, source, config, ctx)
        monkeypatch.setattr(time, "monotonic", lambda: late.until)
        return made

    with monkeypatch.context() as patch:
        patch.setattr(Stage, "run", slow)
        made = run(stage, 0.915, late, source, epochs=4)
    assert stage.ran == [0.6]
    assert made.settings["strength"] == 0.6
    assert "No time was left for strength 0.8." in str(made.details.note)


def test_the_input_is_passed_on_if_nothing_holds(
    ctx: Context, source: Artifact, caplog: pytest.LogCaptureFixture
) -> None:
    made = run(Stage(RUNGS, start=4), 0.99, ctx, source)
    given = source.model_path
    assert made.model_path
    assert given
    assert made.model_path.read_bytes() == given.read_bytes()
    assert "0.9800, -0.0300 less than its input" in made.details.passed_on
    assert len(made.details.attempts) == 3
    assert (ctx.directory / "rejected.keras").exists()
    assert "Allow more with max_accuracy_drop" in caplog.text


def test_curves_of_later_attempts_come_after_those_of_earlier(
    ctx: Context, source: Artifact
) -> None:
    run(Stage(RUNGS, start=2), 0.915, ctx, source)
    assert ctx.log.steps == [1, 2, 3]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("drop", "images", "shares", "lost"),
    [
        (0.01, 1000, (1 / 3, 2 / 3, 1), [4, 7, 10]),
        (0.01, 180, (1 / 3, 2 / 3, 1), [1, 1, 1]),
        (0.01, 99, (1 / 3, 1), [1, 1]),  # less than one image: one
        (0.01, 45, (1 / 3, 2 / 3, 1), [1, 1, 1]),
        (0.0001, 45, (0.5, 1), [1, 1]),
        (0.0, 500, (0.5, 1), [0, 0]),
        (0.1, 30, (0.25, 0.5, 0.75, 1), [1, 2, 3, 3]),
    ],
)
def test_the_allowed_drop_is_shared_among_the_stages_in_whole_images(
    drop: float, images: int, shares: tuple[float, ...], lost: list[int]
) -> None:
    floors = [reference.floor(0.9, drop, images, share) for share in shares]
    assert [round((0.9 - floor) * images) for floor in floors] == lost


def test_a_drop_below_one_image_is_told_with_the_number_of_images_that_it_needs() -> None:
    said = reference.coarse(0.01, images=45)
    assert said
    assert "one of 45 val images is 0.0222 of val accuracy" in said
    assert "max_accuracy_drop=0.01 needs 100 for validation" in said
    assert reference.coarse(0.01, images=100) is None
    assert reference.coarse(0.01, images=1000) is None
    assert reference.coarse(0.0, images=45) is None


def test_a_tflite_stage_passes_its_input_on_in_float32(
    ctx: Context, source: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(self: Stage, source: Artifact, config: Config, ctx: Context) -> Artifact:
        return ctx.save_tflite(b"int8", source, settings={"strength": config.strength})

    monkeypatch.setattr(Stage, "run", convert)
    made = run(Stage((0.9,), start=0), 0.99, ctx, source)
    assert made.model_file == "model.tflite"
    images = ctx.data.test.images[:3]
    model = keras.models.load_model(source.model_path, compile=False)
    scores = Runner(made.model_path.read_bytes()).scores(images)  # type: ignore[union-attr]
    assert scores == pytest.approx(keras.ops.convert_to_numpy(model(images)), abs=1e-3)
    assert (ctx.directory / "rejected.tflite").read_bytes() == b"int8"


def test_another_objective_is_what_the_floor_bounds(
    ctx: Context,
    source: Artifact,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def scores(made: Artifact, data: Any, objective: str) -> dict[str, float]:
        # accuracy is higher for stronger attempts, the objective is not
        strength = made.settings["strength"]
        return {"val_accuracy": strength, f"val_{objective}": 1 - strength / 10}

    monkeypatch.setattr(metrics, "val_scores", scores)
    caplog.set_level(logging.INFO, "flopsmith")
    source = source.model_copy(update={"metrics": {**source.metrics, "val_macro_f1": 0.95}})
    guard = guardrail.Guardrail(Stage(RUNGS, start=4), 0.92, "macro_f1")  # type: ignore[arg-type]
    made = guard.run(source, Config(), ctx)
    assert made.settings["strength"] == 0.8
    assert made.metrics == {"val_accuracy": 0.8, "val_macro_f1": pytest.approx(0.92)}
    assert [row["score"] >= 0.92 - 1e-9 for row in made.details.attempts] == [
        row["holds"] for row in made.details.attempts
    ]
    assert "Val macro F1 had to stay at 0.9200 or above." in str(made.details.note)
    assert "(val macro F1, floor 0.9200)" in caplog.text


def test_an_input_is_passed_on_by_that_objective(
    ctx: Context, source: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = {"val_accuracy": 0.99, "val_auc": 0.6}
    monkeypatch.setattr(metrics, "val_scores", lambda *_: scores)
    source = source.model_copy(update={"metrics": {**source.metrics, "val_auc": 0.9}})
    guard = guardrail.Guardrail(Stage(RUNGS, start=4), 0.8, "auc")  # type: ignore[arg-type]
    made = guard.run(source, Config(), ctx)
    assert made.details.passed_on == (
        "every attempt fell below a val AUC of 0.8000; the best had 0.6000, 0.3000 less than its "
        "input"
    )
