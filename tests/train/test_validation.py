"""The score on val in training: from one pass, the number of scikit-learn, and what it decides."""

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support.scripted import GOOD, line, script

from pipeline import objective
from pipeline.data.datasets import Dataset, Split
from pipeline.data.stream import stream
from pipeline.details import Objective
from pipeline.train import training
from pipeline.train.settings import Settings
from pipeline.train.training import Session

ROOT = Path(__file__).parents[2]
FROZEN = {"optimizer": "sgd", "learning_rate": 1e-12, "schedule": "constant", "batch_size": 8}


def network(dataset: Dataset, ending: str = "softmax", outputs: int | None = None) -> Any:
    keras.utils.set_random_seed(1)
    inputs = keras.Input(dataset.image_shape)
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    x = keras.layers.Dense(outputs or dataset.num_classes)(x)
    last = keras.layers.Softmax() if ending == "softmax" else keras.layers.Activation(ending)
    return keras.Model(inputs, last(x))


def of_sklearn(model: Any, dataset: Dataset, goal: Objective) -> float:
    scores = model.predict(stream(dataset.val, 64).map(lambda x, _: x), verbose=0)
    return objective.measured(goal, dataset.val.labels, scores)


@pytest.mark.parametrize("goal", objective.NAMES[1:])
@pytest.mark.parametrize("ending", ["softmax", "sigmoid"])
def test_the_score_of_an_epoch_is_that_of_the_network_after_it(
    few_digits: Dataset, goal: Objective, ending: str
) -> None:
    model = network(few_digits, ending)
    found = training.fit(
        model, few_digits, Settings(epochs=1, **FROZEN), 0, Session("test", objective=goal)
    )
    assert found[f"val/{goal}"] == [pytest.approx(of_sklearn(model, few_digits, goal), abs=1e-6)]


def test_the_other_curves_are_those_of_training_by_accuracy(few_digits: Dataset) -> None:
    settings = Settings(epochs=2, ema=0.9, l2=1e-3, schedule="plateau", batch_size=32)
    curves = [
        training.fit(network(few_digits), few_digits, settings, 0, Session("test", objective=goal))
        for goal in ("accuracy", "macro_f1")
    ]
    score = curves[1].pop("val/macro_f1")
    assert curves[0] == curves[1]
    assert len(score) == 2


def test_the_pass_over_val_is_made_once_an_epoch(few_digits: Dataset) -> None:
    began = list[int]()
    watch = keras.callbacks.LambdaCallback()
    watch.on_test_begin = lambda logs=None: began.append(1)
    session = Session("test", objective="auc")
    settings = Settings(epochs=2, batch_size=32)
    training.fit(network(few_digits), few_digits, settings, 0, session, callbacks=[watch])
    assert sum(began) == 2


BLACK = (1.0, -5.0)  # the line that names every square black


@pytest.fixture
def uneven(squares: Dataset) -> Dataset:
    """Of 20 val images 18 are labelled black, of which 4 are white; 2 are labelled white."""
    black, white = (squares.val.index[squares.val.labels == k] for k in (0, 1))
    rows = np.concatenate([np.resize(black, 14), np.resize(white, 6)])
    labels = np.array([0] * 18 + [1] * 2, np.int32)
    return replace(squares, val=Split(squares.val.images, labels, rows))


@pytest.mark.parametrize(
    ("goal", "kept", "scores"),
    [("accuracy", BLACK, [0.9, 0.8]), ("balanced_accuracy", GOOD, [0.5, (14 / 18 + 1) / 2])],
)
def test_the_objective_decides_which_epoch_is_kept(
    uneven: Dataset, goal: Objective, kept: tuple[float, float], scores: list[float]
) -> None:
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.Rescaling(1 / 128, offset=-1.0)(inputs)
    x = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, keras.layers.Softmax()(x))
    session = Session("test", objective=goal)
    lines = [script([BLACK, GOOD])]
    settings = Settings(epochs=2, **FROZEN)
    found = training.fit(model, uneven, settings, 0, session, callbacks=lines)
    assert found[f"val/{goal}"] == pytest.approx(scores)
    assert line(model) == kept


def test_training_that_resumes_keeps_the_scores_of_its_first_epochs(
    few_digits: Dataset, tmp_path: Any
) -> None:
    settings = Settings(epochs=2, batch_size=32)
    whole = training.fit(
        network(few_digits), few_digits, settings, 0, Session("a", objective="macro_f1")
    )
    path, model = tmp_path / "checkpoint.npz", network(few_digits)
    for last in (1, 2):
        session = Session("a", checkpoint=path, last=last, objective="macro_f1")
        found = training.fit(model, few_digits, settings, 0, session)
    assert found["val/macro_f1"] == pytest.approx(whole["val/macro_f1"])


def test_every_training_of_a_run_is_told_the_objective() -> None:
    missing = []
    for path in sorted((ROOT / "pipeline").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name == "Session" and "objective" not in {one.arg for one in node.keywords}:
                missing.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert missing == []
