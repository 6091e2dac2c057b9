"""Training for a given time: how many epochs fit, and where the schedule ends."""

import math
import time
from typing import Any

import keras
import pytest
from support.scripted import BAD, GOOD, line, script

from pipeline.data.datasets import Dataset
from pipeline.train import optimizers, pacing, training
from pipeline.train.pacing import Pace
from pipeline.train.settings import Settings
from pipeline.train.training import Session

STEPS = 5  # updates of an epoch


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def compiled(epochs: int, schedule: str = "cosine", **options: Any) -> Any:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    settings = Settings(epochs=epochs, schedule=schedule, learning_rate=0.1, **options)
    model.compile(optimizer=optimizers.make(settings, STEPS), loss="mse")
    return model


def trained(model: Any, made: Pace, watch: Watch, seconds: list[float]) -> list[float]:
    """Go through epochs of so many seconds until the time is up; the rate at their ends."""
    made.apply(model.optimizer)
    callback = made.callback(model)
    rates: list[float] = []
    for epoch in range(1000):
        callback.on_epoch_begin(epoch)
        for batch in range(STEPS):
            watch.now += seconds[min(epoch, len(seconds) - 1)] / STEPS
            model.optimizer.iterations.assign_add(1)
            callback.on_train_batch_end(batch)
            if made.cut:
                break
        callback.on_epoch_end(epoch)
        rates.append(float(model.optimizer.learning_rate))
        if made.is_over(epoch + 1):
            break
    return rates


@pytest.mark.parametrize("nominal", [3, 300])
@pytest.mark.parametrize("seconds", [[8.0, 4.0], [2.0, 2.0, 2.0, 5.0], [5.0, 5.0, 5.0, 2.0]])
def test_a_schedule_is_completed_when_the_time_is_up(nominal: int, seconds: list[float]) -> None:
    watch = Watch()
    rates = trained(compiled(nominal), Pace(50, None, nominal, STEPS, clock=watch), watch, seconds)
    assert 50 - 2 * seconds[-1] - 3 < watch.now <= 50
    assert rates[-1] < 0.01
    assert rates == sorted(rates, reverse=True)
    assert rates[len(rates) // 4] > 0.02


def test_no_more_epochs_than_asked_for() -> None:
    watch = Watch()
    rates = trained(compiled(30), Pace(1000, 6, 30, STEPS, clock=watch), watch, [2.0])
    assert len(rates) == 6
    assert rates[-1] < 1e-3
    assert rates[2] == pytest.approx(0.062, abs=0.01)  # the first epoch is one of 30


def test_an_epoch_that_does_not_fit_is_cut_with_its_schedule_completed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch = Watch()
    made = Pace(70, None, 30, STEPS, clock=watch)
    monkeypatch.setattr(pacing, "PROBED", (2, 0.0))
    rates = trained(compiled(30), made, watch, [100.0])
    assert made.cut
    assert watch.now <= 80  # an update of 20 s goes on
    assert rates == [pytest.approx(0, abs=0.02)]


def test_seconds_are_counted_from_the_end_of_the_first_update() -> None:
    watch = Watch()
    made = Pace(math.inf, None, 30, STEPS, seconds=40.0, clock=watch)
    rates = trained(compiled(30), made, watch, [500.0, 4.0])  # the first is traced: 100 s an update
    assert watch.now == 200  # the second update ends it
    watch = Watch()
    made = Pace(math.inf, None, 30, STEPS, seconds=40.0, clock=watch)
    rates = trained(compiled(30), made, watch, [4.0])
    assert 0.8 + 40 - 2 * 4 < watch.now <= 0.8 + 40
    assert rates[-1] < 0.01


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_a_rate_without_a_schedule_stays(schedule: str) -> None:
    watch = Watch()
    model = compiled(30, schedule)
    rates = trained(model, Pace(20, None, 30, STEPS, clock=watch), watch, [2.0])
    assert rates == pytest.approx([0.1] * len(rates))
    assert len(rates) == 9


@pytest.mark.slow
def test_training_ends_in_time_and_keeps_the_best_epoch(squares: Dataset) -> None:
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 128, offset=-1.0)(inputs))
    model = keras.Model(inputs, keras.layers.Softmax()(keras.layers.Dense(2)(x)))
    settings = Settings(epochs=1, optimizer="sgd", learning_rate=1e-12, batch_size=8)
    until = time.monotonic() + 6
    session = Session("test", until=until)
    lines = [BAD, GOOD, *[BAD] * 10_000]
    history = training.fit(model, squares, settings, 0, session, callbacks=[script(lines)])
    assert len(history["val/loss"]) > 1
    assert time.monotonic() < until + 1
    assert line(model) == GOOD


def test_a_training_of_limited_time_resumes_where_it_was(squares: Dataset, tmp_path: Any) -> None:
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 128, offset=-1.0)(inputs))
    model = keras.Model(inputs, keras.layers.Softmax()(keras.layers.Dense(2)(x)))
    settings = Settings(epochs=4, batch_size=8)
    file = tmp_path / "checkpoint.npz"

    def fitted(most: int) -> int:
        session = Session("test", checkpoint=file, until=time.monotonic() + 60, most=most)
        return len(training.fit(model, squares, settings, 0, session)["val/loss"])

    assert fitted(2) == 2
    assert fitted(5) == 5
