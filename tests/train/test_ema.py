"""Averaged weights: what the average is, and that it is what is scored and kept."""

from typing import Any

import keras
import numpy as np
import pytest

from pipeline.data.datasets import Dataset
from pipeline.train import training
from pipeline.train.settings import Settings
from pipeline.train.training import Session


def network(dataset: Dataset) -> Any:
    """With statistics, which are averaged as well."""
    keras.utils.set_random_seed(7)
    inputs = keras.Input(dataset.image_shape)
    x = keras.layers.Rescaling(1 / 128, offset=-1.0)(inputs)
    x = keras.layers.Conv2D(8, 3, strides=4, activation="relu")(x)
    x = keras.layers.BatchNormalization(momentum=0.5)(x)
    x = keras.layers.Dense(dataset.num_classes)(keras.layers.Flatten()(x))
    return keras.Model(inputs, keras.layers.Softmax()(x))


def trained(dataset: Dataset, **options: Any) -> tuple[Any, Any, list[Any]]:
    """The network, its curves, and its weights before training and after every step."""
    model, steps = network(dataset), []

    class Steps(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            steps.append(self.model.get_weights())

    before = model.get_weights()
    settings = Settings(**{"epochs": 2, "batch_size": 16, "learning_rate": 0.01, **options})
    history = training.fit(model, dataset, settings, 0, Session(""), callbacks=[Steps()])
    return model, history, [before, *steps]


def averaged(steps: list[Any], momentum: float) -> list[Any]:
    found = [weight.astype(float) for weight in steps[0]]
    for t, weights in enumerate(steps[1:], 1):
        kept = min(momentum, (1 + t) / (10 + t))
        found = [kept * a + (1 - kept) * w for a, w in zip(found, weights, strict=True)]
    return found


@pytest.mark.parametrize("momentum", [0.3, 0.999])
def test_the_average_follows_its_formula(few_digits: Dataset, momentum: float) -> None:
    options = {"epochs": 1, "ema": momentum}
    model, _, steps = trained(few_digits, **options)
    assert len(steps) == 7
    for kept, expected in zip(model.get_weights(), averaged(steps, momentum), strict=True):
        np.testing.assert_allclose(kept, expected, rtol=1e-4, atol=1e-5)


def test_the_average_is_what_is_validated(few_digits: Dataset) -> None:
    model, history, _ = trained(few_digits, epochs=1, ema=0.9)
    val = few_digits.val
    scores = np.asarray(model(val.images[val.index].astype("float32"), training=False))
    loss = -np.log(scores[np.arange(len(val)), val.labels]).mean()
    assert history["val/loss"] == pytest.approx([loss], rel=1e-4)


@pytest.mark.slow
def test_training_itself_does_not_know_of_the_average(few_digits: Dataset) -> None:
    (_, plain, one), (_, history, other) = (trained(few_digits, ema=ema) for ema in (None, 0.99))
    assert history["train/loss"] == pytest.approx(plain["train/loss"], rel=1e-5)
    assert history["val/loss"] != plain["val/loss"]
    for a, b in zip(one[-1], other[-1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_the_average_stays_if_it_never_settles(few_digits: Dataset) -> None:
    model, _, steps = trained(few_digits, ema=0.9, settle=2)
    for kept, expected in zip(model.get_weights(), averaged(steps, 0.9), strict=True):
        np.testing.assert_allclose(kept, expected, rtol=1e-4, atol=1e-5)
