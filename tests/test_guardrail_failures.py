"""What the guardrail makes of a stage that is killed, refuses, or computes something else."""

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from support.chain import saved, trained
from support.context import RecordingLog, make_context
from support.guarded import RUNGS, Config, Stage, run
from support.guarded import accuracy as accuracy
from support.guarded import ctx as ctx
from support.guarded import source as source

from pipeline import guardrail, stage
from pipeline.artifact import Artifact
from pipeline.attempts import Attempts
from pipeline.context import Context
from pipeline.data.datasets import Dataset
from pipeline.errors import ModelError, ParityError
from pipeline.graph import keras_file
from pipeline.guardrail import Guardrail
from pipeline.measure import metrics
from pipeline.stage import Ladder
from pipeline.stages import prune
from pipeline.train.prospects import Goal


class KillingLog(RecordingLog):
    """Ends the process at some epochs."""

    def __init__(self, deaths: tuple[int, ...]) -> None:
        super().__init__()
        self.deaths = [*deaths]

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        super().metrics(values, step)
        if self.deaths and step == self.deaths[0]:
            del self.deaths[0]
            raise KeyboardInterrupt


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


@pytest.mark.slow
def test_a_kill_within_an_attempt_changes_no_weight(
    few_digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # real accuracies
    inputs = keras.Input(few_digits.image_shape)
    keras.utils.set_random_seed(0)
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 128, -1.0)(inputs))
    x = keras.layers.Dense(16, activation="relu")(x)
    model = trained(keras.Model(inputs, keras.layers.Dense(10)(x)), few_digits, epochs=8)
    made = saved(model, tmp_path / "01-finetune")
    score = metrics.val_accuracy(made, few_digits)
    made = made.model_copy(update={"metrics": {"val_accuracy": score}})
    weights, attempts = {}, {}
    for name, deaths in (("straight", ()), ("killed", (2, 5, 9))):
        log = KillingLog(deaths)
        own = make_context(tmp_path / name / "02-prune", few_digits, log=log)
        for _ in range(len(deaths) + 1):
            with contextlib.suppress(KeyboardInterrupt):
                guard = Guardrail(stage.load("prune"), 2.0)  # none of three attempts holds
                kept = guard.run(made, prune.Config(sparsity=0.9, epochs=4), own)
                best = keras_file.load(own.directory / "rejected.keras")
                weights[name] = best.get_weights()
                attempts[name] = [row["val_accuracy"] for row in kept.details.attempts]
        assert log.deaths == []
    assert attempts["killed"] == attempts["straight"]
    assert len(attempts["straight"]) == 3
    for one, other in zip(*weights.values(), strict=True):
        np.testing.assert_array_equal(one, other)


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
