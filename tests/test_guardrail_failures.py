"""What the guardrail makes of a stage that is killed, refuses, or computes something else."""

from dataclasses import replace

import pytest
from support.guarded import RUNGS, Config, Stage, run
from support.guarded import accuracy as accuracy
from support.guarded import ctx as ctx
from support.guarded import source as source

from pipeline import guardrail
from pipeline.artifact import Artifact
from pipeline.attempts import Attempts
from pipeline.context import Context
from pipeline.errors import ModelError, ParityError
from pipeline.stage import Ladder
from pipeline.train.prospects import Goal


def test_an_interrupted_search_for_the_strongest_goes_on(
    ctx: Context, source: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(RUNGS, start=2, goes_on=True)
    whole = Stage.run

    def interrupted(self: Stage, source: Artifact, config: Config, ctx: Context) -> Artifact:
        if len(self.ran) == 2:
            raise KeyboardInterrupt
        return whole(self, source, config, ctx)

    with monkeypatch.context() as patch:
        patch.setattr(Stage, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(stage, 0.915, ctx, source)
    made = run(stage, 0.915, ctx, source)
    assert stage.ran == [0.6, 0.8, 0.9]
    assert made.settings["strength"] == 0.8


def test_attempts_of_other_settings_are_made_again(ctx: Context, source: Artifact) -> None:
    stage = Stage((0.5,), start=0)
    for strength, code in ((0.5, "abc"), (0.5, "abc"), (0.6, "abc"), (0.6, "new")):
        ladder = Ladder((Config(strength=strength),), start=0)
        own = replace(ctx, fingerprint=code)
        Attempts(stage, ladder, source, Goal(0.9, 0.95, 9), own).make(0, source, held=False)  # type: ignore[arg-type]
    assert stage.ran == [0.5, 0.6, 0.6]


def test_a_kill_before_the_artifact_is_written_loses_no_attempt(
    ctx: Context, source: Artifact
) -> None:
    for floor, count in ((0.915, 3), (0.99, 2)):  # one that is met, one that nothing meets
        stage = Stage(RUNGS, start=2)
        first = run(stage, floor, ctx, source)
        again = run(stage, floor, ctx, source)
        assert len(stage.ran) == count
        assert again.details == first.details
        guardrail.tidy(ctx.directory)


def test_a_stronger_attempt_that_cannot_be_made_is_one_that_does_not_hold(
    ctx: Context, source: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Stage.run

    def refusing(self: Stage, source: Artifact, config: Config, ctx: Context) -> Artifact:
        if config.strength > 0.6:
            raise ModelError("nothing would be left")
        return whole(self, source, config, ctx)

    monkeypatch.setattr(Stage, "run", refusing)
    assert run(Stage(RUNGS, start=2), 0.5, ctx, source).settings["strength"] == 0.6
    with pytest.raises(ModelError, match="nothing would be left"):
        run(Stage(RUNGS, start=4), 0.5, ctx, source)


def test_what_computes_something_else_is_tried_milder(
    ctx: Context, source: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, right = Stage.run, 0.4

    def wrong(self: Stage, source: Artifact, config: Config, ctx: Context) -> Artifact:
        if config.strength > right:
            raise ParityError("LiteRT computes something else")
        return whole(self, source, config, ctx)

    monkeypatch.setattr(Stage, "run", wrong)
    made = run(Stage(RUNGS, start=4), 0.5, ctx, source)
    assert made.settings["strength"] == 0.4
    assert "as asked: LiteRT computes something else" in made.details.note
    guardrail.tidy(ctx.directory)
    right = 0.0
    with pytest.raises(ParityError):
        run(Stage(RUNGS, start=4), 0.5, ctx, source)


def test_the_input_is_passed_on_if_what_is_right_is_too_low(
    ctx: Context, source: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Stage.run

    def wrong(self: Stage, source: Artifact, config: Config, ctx: Context) -> Artifact:
        if config.strength < 0.3:
            raise ParityError("LiteRT computes something else")
        return whole(self, source, config, ctx)

    monkeypatch.setattr(Stage, "run", wrong)
    assert run(Stage(RUNGS, start=4), 0.99, ctx, source).details.passed_on
