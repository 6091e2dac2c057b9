"""Training: which weights are kept, when it stops, what it reports.

The weights of every epoch are scripted, so that its accuracy is known without training.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import pytest
from support.scripted import BAD, FAINT, GOOD, HALF, line, script, weights

from pipeline.data.datasets import Dataset
from pipeline.train import training
from pipeline.train.course import CURVES
from pipeline.train.settings import Settings
from pipeline.train.training import Session

OPTIMIZERS = ("sgd", "rmsprop_momentum", "adamw")  # the formulas are tested elsewhere


def network() -> Any:
    """Scores of black and white by the mean pixel."""
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.Rescaling(1 / 128, offset=-1.0)(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Softmax()(keras.layers.Dense(2)(x)))


@pytest.fixture
def scripted(squares: Dataset) -> Callable[..., Any]:
    """Train with scripted weights; the line that is kept, and the curves."""

    def run(lines: Sequence[tuple[float, float]], **options: Any) -> Any:
        model = network()
        frozen = Settings(
            epochs=len(lines),
            optimizer="sgd",
            learning_rate=1e-12,
            batch_size=8,
            schedule="constant",
            **options,
        )
        callbacks = [script(lines)]
        history = training.fit(model, squares, frozen, 0, Session("test"), callbacks=callbacks)
        return line(model), history

    return run


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        ([BAD, GOOD, BAD], GOOD),
        ([HALF, FAINT, HALF], FAINT),  # the more accurate, though its loss is higher
        ([FAINT, GOOD, FAINT], GOOD),  # equally accurate: the lower loss
    ],
)
def test_the_weights_of_the_best_epoch_are_kept(
    scripted: Callable[..., Any], lines: list[Any], kept: tuple[float, float]
) -> None:
    assert scripted(lines)[0] == kept


def test_the_first_epochs_are_not_kept_while_it_settles(scripted: Callable[..., Any]) -> None:
    assert scripted([GOOD, GOOD, BAD, (-2.0, 0.0)], settle=2)[0] == BAD


def test_the_last_weights_stay_if_it_never_settles(scripted: Callable[..., Any]) -> None:
    assert scripted([GOOD, FAINT, BAD], settle=3)[0] == BAD


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lines", "options", "epochs"),
    [
        ([GOOD, BAD, BAD, BAD, BAD], {"patience": 2}, 3),
        ([BAD, FAINT, GOOD, BAD, BAD, GOOD], {"patience": 2}, 5),
        ([GOOD, BAD, BAD, BAD, BAD], {}, 5),
        ([GOOD, BAD, BAD, BAD, BAD, BAD], {"patience": 1, "settle": 3}, 5),
    ],
)
def test_training_stops_when_patience_is_at_an_end(
    scripted: Callable[..., Any], lines: list[Any], options: dict[str, int], epochs: int
) -> None:
    _, history = scripted(lines, **options)
    assert {curve: len(points) for curve, points in history.items()} == dict.fromkeys(
        CURVES.values(), epochs
    )


def test_the_best_weights_are_kept_after_an_early_stop(scripted: Callable[..., Any]) -> None:
    assert scripted([FAINT, GOOD, BAD, BAD, FAINT], patience=2)[0] == GOOD


def test_curves_hold_what_each_epoch_scored(scripted: Callable[..., Any]) -> None:
    _, history = scripted([BAD, GOOD, HALF, FAINT])
    assert history["train/accuracy"] == history["val/accuracy"] == [0.0, 1.0, 0.5, 1.0]
    bad, good, half, faint = history["val/loss"]
    assert good < half < faint < bad


def test_the_loss_is_cross_entropy(scripted: Callable[..., Any]) -> None:
    _, history = scripted([FAINT, GOOD])
    pixels = np.array([-1.0, 255 / 128 - 1])  # of the two classes, which are as frequent
    margins = 2 * np.outer([0.1, 1.0], np.abs(pixels))
    expected = np.log1p(np.exp(-margins)).mean(axis=1)
    assert history["val/loss"] == pytest.approx(expected, abs=1e-5)


def test_curves_are_plain_numbers(scripted: Callable[..., Any]) -> None:
    _, history = scripted([GOOD])
    assert {type(point) for points in history.values() for point in points} == {float}


def test_a_loss_that_is_not_finite_ends_training_and_is_never_the_best(
    scripted: Callable[..., Any],
) -> None:
    kept, history = scripted([GOOD, (math.nan, 0.0), GOOD, GOOD])
    assert len(history["train/loss"]) == 2
    assert math.isnan(history["train/loss"][-1])
    assert kept == GOOD


# real training


def trained(dataset: Dataset, order: int = 0, **options: Any) -> tuple[Any, Any]:
    """Train a small convolutional network on digits, always from the same weights."""
    keras.utils.set_random_seed(7)
    inputs = keras.Input(dataset.image_shape)
    x = keras.layers.Rescaling(1 / 128, offset=-1.0)(inputs)
    x = keras.layers.Conv2D(8, 3, strides=4, activation="relu")(x)
    x = keras.layers.BatchNormalization(momentum=0.5)(x)
    x = keras.layers.Dense(dataset.num_classes)(keras.layers.Flatten()(x))
    model = keras.Model(inputs, keras.layers.Softmax()(x))
    settings = Settings(**{"epochs": 2, "batch_size": 16, "learning_rate": 0.01, **options})
    return model, training.fit(model, dataset, settings, order, Session("test"))


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_training_lowers_the_loss(few_digits: Dataset, schedule: str) -> None:
    _, history = trained(few_digits, epochs=3, schedule=schedule)
    assert history["train/loss"][-1] < history["train/loss"][0]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_changes_the_weights(squares: Dataset, optimizer: str) -> None:
    model = network()
    before = line(model)
    settings = Settings(epochs=1, optimizer=optimizer, batch_size=8, learning_rate=0.05)
    training.fit(model, squares, settings, 0, Session("test"))
    assert line(model)[0] > before[0]


@pytest.mark.slow
def test_the_same_seed_trains_the_same_network(few_digits: Dataset) -> None:
    (one, first), (other, second) = (trained(few_digits, order=3) for _ in range(2))
    assert first == second
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_seed_decides_the_order_of_the_images(few_digits: Dataset) -> None:
    (_, first), (_, second) = (trained(few_digits, order=seed) for seed in (3, 4))
    assert first["train/loss"] != second["train/loss"]


@pytest.mark.parametrize(
    ("schedule", "rates"), [("cosine", [0.1, 0.05, 0.0]), ("constant", [0.1, 0.1, 0.1])]
)
def test_the_learning_rate_follows_its_schedule(
    squares: Dataset, schedule: str, rates: list[float]
) -> None:
    seen = []

    class Rate(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            seen.append(float(self.model.optimizer.learning_rate))

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.on_train_begin()

    settings = Settings(epochs=2, learning_rate=0.1, batch_size=8, schedule=schedule)
    training.fit(network(), squares, settings, 0, Session("test"), callbacks=[Rate()])
    assert seen == pytest.approx(rates, abs=1e-6)


def test_a_plateau_of_val_accuracy_lowers_the_rate(squares: Dataset) -> None:
    seen = []

    class Rate(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            seen.append(float(self.model.optimizer.learning_rate))

    settings = Settings(
        epochs=6, optimizer="sgd", learning_rate=1e-9, batch_size=8, schedule="plateau"
    )
    lines = [HALF, BAD, GOOD, GOOD, GOOD, GOOD]
    callbacks = [script(lines), Rate()]
    training.fit(network(), squares, settings, 0, Session("test"), callbacks=callbacks)
    assert seen == pytest.approx([1e-9] * 5 + [1e-10])


def test_fewer_images_than_a_batch_are_still_trained_on(squares: Dataset) -> None:
    model = network()
    before = line(model)
    settings = Settings(epochs=1, batch_size=64, learning_rate=0.05)
    training.fit(model, squares, settings, 0, Session("test"))
    assert line(model) != before


def test_a_model_whose_softmax_is_an_activation_is_trained_on_its_scores(squares: Dataset) -> None:
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 128, offset=-1.0)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))
    model.set_weights(weights(0.0, 0.0))
    settings = Settings(epochs=1, optimizer="sgd", batch_size=16, learning_rate=1e-12)
    history = training.fit(model, squares, settings, 0, Session("test"))
    assert history["train/loss"] == pytest.approx([math.log(2)], abs=1e-5)


def test_scores_that_no_float_can_hold_still_have_a_loss(squares: Dataset) -> None:
    model = network()
    settings = Settings(epochs=1, optimizer="sgd", batch_size=16, learning_rate=1e-12)
    wrong = [script([(-1000.0, 0.0)])]
    history = training.fit(model, squares, settings, 0, Session("test"), callbacks=wrong)
    # on scores the loss would be cut off at -log(1e-7) = 16
    assert history["val/loss"][0] == pytest.approx(2000, rel=0.01)


def test_every_epoch_is_reported_as_it_ends(squares: Dataset) -> None:
    reported: list[tuple[int, dict[str, float]]] = []
    history = training.fit(
        network(),
        squares,
        Settings(epochs=3, batch_size=8),
        0,
        Session("test", on_epoch=lambda epoch, point: reported.append((epoch, point))),
    )
    assert [epoch for epoch, _ in reported] == [1, 2, 3]
    assert {key: [point[key] for _, point in reported] for key in history} == history


# what is added to the loss


def test_label_smoothing_spreads_a_share_of_every_label(squares: Dataset) -> None:
    settings = Settings(epochs=1, learning_rate=1e-12, label_smoothing=0.2)
    history = training.fit(network(), squares, settings, 0, Session(""), callbacks=[script([GOOD])])
    margins = 2 * np.array([1.0, 255 / 128 - 1])  # of the right class over the other
    expected = np.log1p(np.exp(-margins)) + 0.1 * margins  # the other class has 0.2 / 2
    assert history["val/loss"] == pytest.approx([expected.mean()], abs=1e-5)
    assert history["val/accuracy"] == [1.0]


def test_penalties_are_part_of_the_loss(scripted: Callable[..., Any]) -> None:
    _, history = scripted([FAINT], l1=1.0, l2=3.0)
    margins = 0.2 * np.array([1.0, 255 / 128 - 1])
    expected = np.log1p(np.exp(-margins)).mean() + 1.0 * 0.2 + 3.0 * 0.02  # weights 0.1 and -0.1
    assert history["train/loss"] == pytest.approx([expected], abs=1e-5)


def test_a_model_has_no_penalty_after_training(squares: Dataset) -> None:
    model = network()
    training.fit(model, squares, Settings(epochs=1, batch_size=8, l2=0.1), 0, Session("test"))
    assert model.losses == []


# the end of training


@pytest.mark.parametrize(
    ("lines", "grace", "epochs"),
    [
        ([BAD, BAD, GOOD, GOOD], 2, 2),
        ([BAD, HALF, BAD, GOOD], 3, 3),  # half of the images: what guessing one class gives
        ([GOOD, BAD, BAD, BAD], 2, 4),
    ],
)
def test_a_network_at_chance_stops_when_its_grace_is_over(
    scripted: Callable[..., Any], lines: list[Any], grace: int | None, epochs: int
) -> None:
    _, history = scripted(lines, grace=grace)
    assert len(history["val/accuracy"]) == epochs


def test_no_epoch_but_the_first_begins_after_the_deadline(squares: Dataset) -> None:
    settings = Settings(epochs=3, batch_size=8)
    for deadline, epochs in ((time.monotonic(), 1), (time.monotonic() + 999, 3)):
        history = training.fit(network(), squares, settings, 0, Session("test", deadline=deadline))
        assert len(history["val/loss"]) == epochs
