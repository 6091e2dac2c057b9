"""Trials: whatever a network does, a trial ends with a result, and is trained once."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipeline.data.datasets import Dataset
from pipeline.search import trial
from search_spaces import family
from search_spaces.base import Cheapest

SETTINGS = {"optimizer": "adam", "learning_rate": 0.01, "batch_size": 8, "epochs": 2}
Build = Callable[..., keras.Model]
Run = Callable[..., dict[str, Any]]


def tiny(*_: Any) -> keras.Model:
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 128, -1.0)(inputs))
    return keras.Model(inputs, keras.layers.Softmax()(keras.layers.Dense(2)(x)))


def not_a_number(*_: Any) -> keras.Model:
    model = tiny()
    model.set_weights([np.full_like(weights, np.nan) for weights in model.get_weights()])
    return model


def deep(*_: Any) -> keras.Model:
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.Flatten()(inputs)
    for _ in range(3):
        x = keras.layers.Dense(8)(x)
    return keras.Model(inputs, keras.layers.Softmax()(keras.layers.Dense(2)(x)))


def broken(*_: Any) -> keras.Model:
    raise MemoryError("12 GiB are not there")


def of_other_size(*_: Any) -> keras.Model:
    inputs = keras.Input((9, 9, 3))
    return keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))


@pytest.fixture
def contrary(squares: Dataset) -> Dataset:
    """Val says the opposite of train, so that the two scores cannot be mistaken."""
    val = replace(squares.val, labels=1 - squares.val.labels)
    return replace(squares, val=val)


@pytest.fixture
def run(tmp_path: Path, contrary: Dataset, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a trial of what `build` returns, in place of a network of a family."""

    def with_network(build: Build, name: str = "trial_0", **settings: Any) -> dict[str, Any]:
        monkeypatch.setattr(trial, "build", build)
        task = trial.Task("none", {}, {**SETTINGS, **settings}, 0, tmp_path / name)
        return trial.run(task, contrary)

    return with_network


@pytest.fixture(autouse=True)
def directories(tmp_path: Path) -> None:
    for name in ("trial_0", "trial_1"):
        (tmp_path / name).mkdir()


def test_a_trial_scores_its_best_epoch_on_val(run: Run) -> None:
    result = run(tiny, learning_rate=1.0, epochs=3)
    assert result["history"]["train/accuracy"][-1] == 1.0
    assert result["val_accuracy"] == max(result["history"]["val/accuracy"]) < 1.0
    assert len(result["history"]["val/accuracy"]) == 3
    assert result["error"] is None
    assert result["seconds"] > 0


def test_the_model_on_disk_is_the_one_that_was_scored(
    run: Run, tmp_path: Path, contrary: Dataset
) -> None:
    result = run(tiny)
    model = keras.models.load_model(tmp_path / "trial_0" / trial.MODEL, compile=False)
    images = contrary.val.images[contrary.val.index].astype(np.float32)
    hits = np.argmax(model(images), axis=1) == contrary.val.labels
    assert hits.mean() == result["val_accuracy"]


def test_a_result_is_read_and_not_computed_again(run: Run) -> None:
    first = run(tiny)
    assert run(broken) == first


def test_a_failed_result_is_read_and_not_computed_again(run: Run) -> None:
    first = run(broken)
    assert run(tiny) == first


def test_a_trial_without_a_result_is_trained_again(run: Run, tmp_path: Path) -> None:
    (tmp_path / "trial_0" / trial.MODEL).write_bytes(b"half a model")
    assert run(tiny)["error"] is None
    assert keras.models.load_model(tmp_path / "trial_0" / trial.MODEL, compile=False)


@pytest.mark.parametrize(
    ("build", "what"), [(broken, "12 GiB are not there"), (of_other_size, "9, 9, 3")]
)
def test_a_network_that_raises_is_a_result_with_its_error(
    run: Run, build: Build, what: str
) -> None:
    result = run(build)
    assert result["val_accuracy"] is None
    assert what in result["error"]
    assert json.loads(json.dumps(result)) == result


def test_a_loss_that_is_not_a_number_is_a_result_with_its_error(run: Run, tmp_path: Path) -> None:
    result = run(not_a_number)
    assert result["val_accuracy"] is None
    assert result["error"] == "diverged: train/loss=nan"
    assert not (tmp_path / "trial_0" / trial.MODEL).exists()


def test_a_learning_rate_that_is_far_too_high_is_a_result_with_its_error(run: Run) -> None:
    result = run(deep, optimizer="sgd", learning_rate=1e30)
    assert result["val_accuracy"] is None
    assert "diverged" in result["error"]
    assert not math.isfinite(result["history"]["train/loss"][-1])


def test_settings_that_do_not_exist_are_a_result_with_their_error(run: Run) -> None:
    assert "momentun" in run(tiny, optimizer="momentun")["error"]


def test_a_trial_of_so_many_seconds_takes_them_whatever_its_epochs(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = trial.Task
    monkeypatch.setattr(trial, "Task", partial(plain, seconds=2.0))
    found = run(tiny)
    assert found["error"] is None
    assert 1.5 < found["slice_seconds"] < 3
    assert found["epochs"] == len(found["history"]["val/loss"]) > 2
    assert 0 < found["epoch_seconds"] < 1


def test_ctrl_c_is_not_a_result(run: Run, tmp_path: Path) -> None:
    def interrupted(*_: Any) -> keras.Model:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(interrupted)
    assert not (tmp_path / "trial_0" / trial.RESULT).exists()


def test_the_result_is_written_after_the_model(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    write = trial.write_atomic

    def written(path: Path, content: str) -> None:
        seen.append((path.name, (tmp_path / "trial_0" / trial.MODEL).exists()))
        write(path, content)

    monkeypatch.setattr(trial, "write_atomic", written)
    run(tiny)
    assert seen == [(trial.RESULT, True)]


def test_the_same_seed_gives_the_same_curves(run: Run) -> None:
    assert run(tiny, "trial_0")["history"] == run(tiny, "trial_1")["history"]


def test_a_network_of_a_family_is_trained(tmp_path: Path, few_digits: Dataset) -> None:
    arch = family("resnet").sample(Cheapest()).model_dump(mode="json")
    settings = {**SETTINGS, "batch_size": 32, "epochs": 1}
    result = trial.run(trial.Task("resnet", arch, settings, 0, tmp_path / "trial_0"), few_digits)
    assert result["error"] is None
    assert 0 <= result["val_accuracy"] <= 1


@pytest.mark.slow
def test_a_trial_that_goes_on_ends_as_one_that_never_stopped(
    squares: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "build", deep)
    settings = {**SETTINGS, "epochs": 6, "learning_rate": 0.001}
    (tmp_path / "whole").mkdir()
    task = trial.Task("none", {}, settings, 3, tmp_path / "whole")
    whole = trial.run(task, squares)
    one, two = (tmp_path / f"trial_{i}" for i in range(2))
    first = trial.run(replace(task, directory=one, last=2), squares)
    assert (one / "checkpoint.npz").exists()
    second = trial.run(replace(task, directory=two, parent=one, first=2, last=6), squares)
    assert (first["epochs"], second["epochs"]) == (2, 4)
    for curve, values in whole["history"].items():
        both = first["history"][curve] + second["history"][curve]
        np.testing.assert_allclose(both, values, rtol=1e-5)
    assert second["val_accuracy"] == whole["val_accuracy"]
    for model, other in zip(*(keras.models.load_model(p / "model.keras").get_weights()
                              for p in (two, tmp_path / "whole")), strict=True):  # fmt: skip
        np.testing.assert_allclose(model, other, atol=1e-6)
    assert not (two / "checkpoint.npz").exists()


def test_by_another_objective_a_trial_scores_the_epoch_that_is_best_in_it(
    tmp_path: Path, few_digits: Dataset
) -> None:
    arch = family("lenet").sample(Cheapest()).model_dump(mode="json")
    settings = {**SETTINGS, "epochs": 3, "batch_size": 32, "class_weights": "auto"}
    task = trial.Task("lenet", arch, settings, 0, tmp_path / "trial_0", objective="macro_f1")
    found = trial.run(task, few_digits)
    assert found["error"] is None
    scores = found["history"]["val/macro_f1"]
    at = scores.index(max(scores))
    assert found["val_macro_f1"] == max(scores)
    assert found["val_accuracy"] == found["history"]["val/accuracy"][at]
    assert found["val_loss"] == found["history"]["val/loss"][at]
