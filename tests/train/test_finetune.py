"""Fine-tuning a network with a new head: what each mode changes, keeps and computes once."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipeline.data.datasets import Dataset
from pipeline.train import finetune, training
from pipeline.train.finetune import FineTuning
from pipeline.train.settings import Settings
from search_spaces import base


def network(dataset: Dataset, dropout: float = 0.0) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs, x = base.pixels(dataset.image_shape)
    style = base.Style(dropout=dropout)
    x = base.conv(x, 8, 3, 2, name="one", style=style)
    x = base.conv(x, 16, 3, 2, name="two", style=style)
    return keras.Model(inputs, base.scores(x, dataset.num_classes, style))


def tune(dataset: Dataset, directory: Path, **settings: Any) -> FineTuning:
    new = settings.pop("new_layers", ("logits",))
    given = {"epochs": 4, "batch_size": 16, "learning_rate": 0.01}
    made = Settings(**{**given, **settings})
    return FineTuning(network(dataset, 0.1), dataset, made, 0, directory, new)


def body(model: keras.Model) -> list[np.ndarray]:
    return [np.array(w) for w in model.weights if not w.path.startswith("logits")]


def test_frozen_trains_the_head_and_nothing_else(few_digits: Dataset, tmp_path: Path) -> None:
    made = tune(few_digits, tmp_path, epochs=12)
    before, head = body(made.model), made.model.get_layer("logits").get_weights()
    assert made.run("frozen", 1) == "frozen"
    for was, now in zip(before, body(made.model), strict=True):
        np.testing.assert_array_equal(was, now)
    assert np.abs(head[0] - made.model.get_layer("logits").get_weights()[0]).max() > 0.01
    assert len(made.history["val/accuracy"]) == 12
    assert made.history["train/loss"][-1] < made.history["train/loss"][0]


def test_a_head_trained_on_features_scores_the_same_in_the_whole_model(
    few_digits: Dataset, tmp_path: Path
) -> None:
    made = tune(few_digits, tmp_path, epochs=6)
    made.run("frozen", 1)
    made.model.compile(metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")])
    val = few_digits.val
    scores = made.model.predict(val.images[val.index].astype("float32"), verbose=0)
    accuracy = float(np.mean(np.argmax(scores, -1) == val.labels))
    assert accuracy == pytest.approx(max(made.history["val/accuracy"]))


@pytest.mark.slow
def test_features_are_computed_once_and_deleted_at_the_end(
    few_digits: Dataset, tmp_path: Path
) -> None:
    made = tune(few_digits, tmp_path)
    made._head(2)
    stamp = (tmp_path / finetune.FEATURES).stat().st_mtime_ns
    made._head(2)
    assert (tmp_path / finetune.FEATURES).stat().st_mtime_ns == stamp
    made.model.get_layer("one").kernel.assign_add(made.model.get_layer("one").kernel)
    made._head(2)
    assert (tmp_path / finetune.FEATURES).stat().st_mtime_ns > stamp
    made.run("frozen", 1)
    assert not (tmp_path / finetune.FEATURES).exists()


def test_frozen_that_stops_early_does_not_begin_again(
    few_digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, called = tune(few_digits, tmp_path, epochs=30), []

    def fit(
        model: Any, dataset: Any, settings: Any, seed: int, session: training.Session, **_: Any
    ) -> dict[str, list[float]]:
        called.append(session.label)
        return {"val/accuracy": [0.5, 0.4], "val/loss": [1.0, 1.0]}

    monkeypatch.setattr(training, "fit", fit)
    made.run("frozen", 1)
    assert called == ["head"]


def test_auto_keeps_the_better_of_two_heads(
    few_digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tune(few_digits, tmp_path, epochs=9)
    monkeypatch.setattr(made, "_chosen", lambda best: "frozen")
    heads = iter([(0.9, 1.0), (0.8, 2.0)])

    def head(epochs: int = 0) -> float:
        best, value = next(heads)
        made.model.get_layer("logits").bias.assign([value] * 10)
        made.history = {"val/accuracy": [best]}
        return best

    monkeypatch.setattr(made, "_fitted", head)
    monkeypatch.setattr(made, "_head", head)
    assert made.run("auto", 1) == "frozen"
    assert float(made.model.get_layer("logits").bias[0]) == 1.0


def test_auto_judges_the_features_by_a_head_that_is_fitted_to_the_end(
    few_digits: Dataset, tmp_path: Path
) -> None:
    made = tune(few_digits, tmp_path, epochs=2, learning_rate=1e-5)
    before = body(made.model)
    fitted = made._fitted()
    assert fitted is not None
    for was, now in zip(before, body(made.model), strict=True):
        np.testing.assert_array_equal(was, now)
    val = few_digits.val
    scores = made.model.predict(val.images[val.index].astype("float32"), verbose=0)
    assert float(np.mean(scores.argmax(-1) == val.labels)) == pytest.approx(fitted)
    updates = tune(few_digits, tmp_path, epochs=2, learning_rate=1e-3)._head(2)
    assert fitted > updates + 0.2  # a few updates say little of the features


@pytest.mark.slow
def test_auto_goes_on_from_the_fitted_head_and_spends_no_epoch_on_it(
    few_digits: Dataset, tmp_path: Path
) -> None:
    made = tune(few_digits, tmp_path, epochs=3, learning_rate=1e-6)
    assert made.run("auto", 1) == "head_then_all"
    assert len(made.history["val/accuracy"]) == 3
    assert f"reaches {made._fitted():.3f} on val" in made.reason


@pytest.mark.slow
def test_a_head_of_two_layers_is_trained_in_place_of_fitted(
    few_digits: Dataset, tmp_path: Path
) -> None:
    inputs = keras.Input(few_digits.image_shape)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3, name="old")(inputs))
    x = keras.layers.Dense(8, activation="relu", name="new_1")(x)
    x = keras.layers.Dense(few_digits.num_classes, activation="softmax", name="new_2")(x)
    settings = Settings(epochs=3, batch_size=16)
    made = FineTuning(keras.Model(inputs, x), few_digits, settings, 0, tmp_path, ("new_1", "new_2"))
    assert made._fitted() is None
    made.run("auto", 1)
    assert len(made.history["val/accuracy"]) == 3


def test_the_head_first_and_then_all_with_fixed_norms(few_digits: Dataset, tmp_path: Path) -> None:
    seen: list[int] = []
    made = tune(few_digits, tmp_path)
    made.on_epoch = lambda epoch, _: seen.append(epoch)
    norms = [w.path for w in made.model.weights if "_norm" in w.path]
    before = {w.path: np.array(w) for w in made.model.weights}
    assert made.run("head_then_all", 2) == "head_then_all"
    assert seen == [1, 2, 3, 4]
    after = {w.path: np.array(w) for w in made.model.weights}
    assert all(np.array_equal(before[path], after[path]) for path in norms)
    assert all(layer.trainable for layer in made.model.layers)


@pytest.mark.slow
def test_what_the_head_alone_reached_is_not_lost(few_digits: Dataset, tmp_path: Path) -> None:
    made = tune(few_digits, tmp_path, epochs=13)
    made.run("frozen", 12)
    best = max(made.history["val/accuracy"])
    again = tune(few_digits, tmp_path, epochs=13, learning_rate=5.0, optimizer="sgd")
    again.model.set_weights(made.model.get_weights())
    again.run("head_then_all", 1)
    kept = max(again.history["val/accuracy"])
    scores = again.model.predict(
        few_digits.val.images[few_digits.val.index].astype("float32"), verbose=0
    )
    accuracy = float(np.mean(np.argmax(scores, -1) == few_digits.val.labels))
    assert accuracy == pytest.approx(kept)
    assert best > 0


@pytest.mark.parametrize(
    ("each", "reached", "mode"),
    [
        (20, 0.99, "frozen"),
        (20, 0.5, "head_then_all"),
        (500, 0.99, "head_then_all"),
        (500, 0.5, "head_then_all"),
        (2000, 0.5, "full"),
    ],
)
def test_the_mode_follows_from_how_many_and_how_similar_images(
    few_digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, each: int, reached: Any,
    mode: str,
) -> None:  # fmt: skip
    made = tune(few_digits, tmp_path)
    monkeypatch.setattr(type(few_digits.train), "__len__", lambda split: each * 10)
    assert made._chosen(reached) == mode
    assert f"{each} images per class" in made.reason


def test_without_new_layers_auto_trains_all_and_says_why(
    few_digits: Dataset, tmp_path: Path
) -> None:
    made = tune(few_digits, tmp_path, new_layers=())
    assert made.run("auto", 1) == "full"
    assert made.reason == "the network has no new layers"
    assert not (tmp_path / finetune.FEATURES).exists()


@pytest.mark.slow
def test_an_interrupted_second_phase_ends_as_if_it_was_not(
    few_digits: Dataset, tmp_path: Path
) -> None:
    whole = tune(few_digits, tmp_path / "a")
    whole.run("head_then_all", 1)

    class Stopped(Exception):
        pass

    def stop(epoch: int, _: Any) -> None:
        if epoch == 3:
            raise Stopped

    first = tune(few_digits, tmp_path / "b")
    first.on_epoch = stop
    with pytest.raises(Stopped):
        first.run("head_then_all", 1)
    again = tune(few_digits, tmp_path / "b")
    again.run("head_then_all", 1)
    for one, other in zip(whole.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_new_layers_before_old_ones_cannot_be_trained_alone(
    few_digits: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="only new layers follow"):
        tune(few_digits, tmp_path, new_layers=("one", "logits")).run("frozen", 1)
