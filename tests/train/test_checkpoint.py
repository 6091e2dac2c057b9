"""Checkpoints: what goes on after an interruption ends as if there had been none."""

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipeline.data.datasets import Dataset
from pipeline.train import course, training
from pipeline.train.checkpoint import Checkpoint, State
from pipeline.train.settings import Settings
from pipeline.train.training import Session

BASE = {"epochs": 4, "batch_size": 32, "learning_rate": 0.01}


class Killed(Exception):
    """The process ends here."""


def network(dataset: Dataset) -> keras.Model:
    """Every kind of state: weights, statistics, random generators."""
    keras.utils.set_random_seed(7)
    inputs = keras.Input(dataset.image_shape)
    x = keras.layers.Rescaling(1 / 128, offset=-1.0)(inputs)
    x = keras.layers.Conv2D(6, 3, strides=4, activation="relu")(x)
    x = keras.layers.Dropout(0.3)(keras.layers.BatchNormalization(momentum=0.5)(x))
    x = keras.layers.Dense(dataset.num_classes)(keras.layers.Flatten()(x))
    return keras.Model(inputs, keras.layers.Softmax()(x))


@pytest.fixture
def train(few_digits: Dataset) -> Callable[..., Any]:
    """Train a network with `BASE` settings; the network and its curves."""

    def run(path: Path | None, **options: Any) -> Any:
        model = network(few_digits)
        fit = {key: options.pop(key) for key in ("on_epoch", "deadline") if key in options}
        settings = Settings(**{**BASE, **options})
        session = Session("test", checkpoint=path, **fit)
        return model, training.fit(model, few_digits, settings, 3, session)

    return run


def die(epoch: int) -> Callable[[int, Any], None]:
    """Raise when that epoch has been trained."""

    def on_epoch(number: int, point: Any) -> None:
        if number == epoch:
            raise Killed

    return on_epoch


def assert_equal(one: keras.Model, other: keras.Model) -> None:
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adam", "warmup": 0.25, "augmentation": "medium", "l2": 1e-3},
        {"optimizer": "nesterov", "schedule": "plateau", "epochs": 7, "learning_rate": 1e-5},
        {
            "ema": 0.9,
            "label_smoothing": 0.1,
            "augmentation": {"crop": 0.3, "mixup": 0.4, "cutmix": 1.0},
        },
    ],
)
def test_training_goes_on_as_if_it_had_not_stopped(
    train: Callable[..., Any], tmp_path: Path, settings: dict[str, Any]
) -> None:
    path, reported = tmp_path / "checkpoint.npz", []
    straight, expected = train(None, **settings)
    last = settings.get("epochs", 4)
    with pytest.raises(Killed):
        train(path, **settings, on_epoch=die(last - 1))
    resumed, history = train(path, **settings, on_epoch=lambda n, _: reported.append(n))
    assert reported == [last - 1, last]  # the one whose report failed was not saved
    assert {curve: len(values) for curve, values in history.items()} == dict.fromkeys(
        course.CURVES.values(), last
    )
    for curve, values in expected.items():
        np.testing.assert_allclose(history[curve], values, rtol=1e-6)
    assert_equal(resumed, straight)


def test_epochs_are_counted_from_the_first_one_of_all(
    train: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Killed):
        train(tmp_path / "checkpoint.npz", on_epoch=die(3))
    caplog.clear()
    caplog.set_level("INFO", logger="flopsmith")
    train(tmp_path / "checkpoint.npz")
    assert [line.split()[1] for line in caplog.messages if "val/loss" in line] == ["3/4", "4/4"]


@pytest.mark.slow
def test_the_best_epoch_may_have_been_before_the_interruption(
    few_digits: Dataset, tmp_path: Path
) -> None:
    class Forget(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if int(self.model.optimizer.iterations) > 6:  # three an epoch
                self.model.set_weights([0 * weight for weight in self.model.get_weights()])

    def run(epochs: int, on_epoch: Any = None, path: Path | None = None) -> keras.Model:
        model = network(few_digits)
        settings = Settings(**{**BASE, "epochs": epochs, "schedule": "constant"})
        training.fit(
            model,
            few_digits,
            settings,
            3,
            Session("test", on_epoch, path),
            callbacks=[Forget()],
        )
        return model

    with pytest.raises(Killed):
        run(4, die(3), tmp_path / "checkpoint.npz")
    assert_equal(run(4, path=tmp_path / "checkpoint.npz"), run(2))


@pytest.mark.slow
def test_the_patience_of_the_rate_goes_on(few_digits: Dataset, tmp_path: Path) -> None:
    seen = []

    class Constant(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.model.set_weights([0 * weight for weight in self.model.get_weights()])
            seen.append(float(self.model.optimizer.learning_rate))

    rate = 1e-9
    options = {"learning_rate": rate, "schedule": "plateau", "epochs": 6, "batch_size": 96}
    for on_epoch in (die(3), None):
        try:
            training.fit(
                network(few_digits),
                few_digits,
                Settings(**options),
                3,
                Session("test", on_epoch, tmp_path / "checkpoint.npz"),
                callbacks=[Constant()],
            )
        except Killed:
            assert seen == pytest.approx([rate] * 3)
            seen.clear()
    # no better since epoch 1: lower after epochs 3 and 5
    assert seen == pytest.approx([rate, rate / 10, rate / 10, rate / 100])


def test_finished_training_is_not_repeated(train: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    first, expected = train(path, epochs=2)
    again, history = train(path, epochs=2, on_epoch=die(2))
    assert history == expected
    assert_equal(again, first)


def test_training_that_stopped_early_stays_stopped(
    train: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.npz"
    options = {"optimizer": "sgd", "learning_rate": 1e-12, "patience": 1, "epochs": 5}
    _, expected = train(path, **options)
    assert len(expected["val/loss"]) < 5
    assert train(path, **options, on_epoch=die(len(expected["val/loss"]) + 1))[1] == expected


def test_training_that_ran_out_of_time_goes_on_when_there_is_more(
    train: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.npz"
    assert len(train(path, deadline=0.0)[1]["val/loss"]) == 1
    assert len(train(path, deadline=0.0, on_epoch=die(2))[1]["val/loss"]) == 1
    with pytest.raises(Killed):
        train(path, on_epoch=die(2))


def test_a_checkpoint_of_no_use_is_written_anew(
    train: Callable[..., Any], tmp_path: Path, caplog: Any
) -> None:
    path = tmp_path / "checkpoint.npz"
    train(path, epochs=1, learning_rate=0.5)
    with caplog.at_level(logging.WARNING):
        _, history = train(path, epochs=1)
    assert "training starts anew" in caplog.text
    assert history == train(None, epochs=1)[1]


# the file


def checkpoint(path: Path, units: int = 3, optimizer: str = "adam", rate: float = 0.1) -> Any:
    """The checkpoint of a tiny model, and the model."""
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dropout(0.5)(keras.layers.Dense(units)(inputs)))
    model.compile(optimizer, jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return Checkpoint(path, model, {"learning_rate": rate}), model


STATE = State(
    [np.float32([[1, 2]]), np.float32([3])],
    {"train/loss": [0.1, math.inf], "val/loss": [1 / 3, 5e-324]},
    {"best": None, "wait": 1},
)


def test_a_checkpoint_gives_back_what_it_was_given(tmp_path: Path) -> None:
    file, model = checkpoint(tmp_path / "new" / "checkpoint.npz")
    before = [variable.numpy() for variable in (*model.variables, *model.optimizer.variables)]
    file.save(STATE)
    other, again = checkpoint(tmp_path / "new" / "checkpoint.npz")
    state = other.load()
    assert state is not None
    assert (state.history, state.plateau) == (STATE.history, STATE.plateau)
    for one, two in zip(state.best_weights or [], STATE.best_weights or [], strict=True):
        np.testing.assert_array_equal(one, two)
    variables = (*again.variables, *again.optimizer.variables)
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


@pytest.mark.parametrize("best", [None, []])
def test_there_may_be_no_best_weights(tmp_path: Path, best: Any) -> None:
    file, _ = checkpoint(tmp_path / "c")
    file.save(State(best, {}, {}))
    state = file.load()
    assert state is not None
    assert state.best_weights == best


def test_where_there_is_no_checkpoint_there_is_no_warning(tmp_path: Path, caplog: Any) -> None:
    assert checkpoint(tmp_path / "c")[0].load() is None
    assert not caplog.text


@pytest.mark.parametrize("other", [{"units": 4}, {"optimizer": "sgd"}, {"rate": 0.2}])
def test_a_checkpoint_of_another_training_is_not_used(
    tmp_path: Path, caplog: Any, other: dict[str, Any]
) -> None:
    checkpoint(tmp_path / "c")[0].save(STATE)
    file, model = checkpoint(tmp_path / "c", **other)
    before = model.get_weights()
    assert file.load() is None
    assert "training starts anew" in caplog.text
    for one, two in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content.replace(b"train/loss", b"train/lost"),
        lambda content: b"",
        lambda content: b"PK\x05\x06" + bytes(18),  # an empty archive
    ],
    ids=["short", "changed", "empty", "hollow"],
)
def test_a_broken_checkpoint_is_not_used(
    tmp_path: Path, caplog: Any, spoil: Callable[[bytes], bytes]
) -> None:
    file, _ = checkpoint(tmp_path / "c")
    file.save(STATE)
    (tmp_path / "c").write_bytes(spoil((tmp_path / "c").read_bytes()))
    assert file.load() is None
    assert "training starts anew" in caplog.text


def test_a_checkpoint_is_one_file_without_pickles(tmp_path: Path) -> None:
    checkpoint(tmp_path / "c")[0].save(STATE)
    assert list(tmp_path.iterdir()) == [tmp_path / "c"]
    with np.load(tmp_path / "c", allow_pickle=False) as archive:
        assert {archive[name].dtype.kind for name in archive.files} == set("fiu")
