"""Training of tf_keras models: which weights are kept, what is minimized, what is refused.

The weights of most epochs are scripted, so that their accuracy is known without training.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tf_keras
from support.scripted import BAD, FAINT, GOOD, HALF, line, weights

from pipeline.data.datasets import Dataset, Split
from pipeline.details import Objective
from pipeline.objective import Goal, measured
from pipeline.quantization.tfmot import trainer
from pipeline.quantization.tfmot.trainer import Trainer
from pipeline.train.course import CURVES
from pipeline.train.prospects import Limits
from pipeline.train.settings import Settings

pytestmark = pytest.mark.slow  # it is not the usual engine

STILL = 1e-12  # a learning rate that leaves the weights as they are scripted
PIXELS = np.array([-1.0, 255 / 128 - 1])  # of the two classes, which are as frequent


def network() -> tf_keras.Model:
    """Scores of black and white by the mean pixel."""
    inputs = tf_keras.Input((4, 4, 1))
    x = tf_keras.layers.GlobalAveragePooling2D()(inputs)
    return tf_keras.Model(inputs, tf_keras.layers.Softmax()(tf_keras.layers.Dense(2)(x)))


def scaled(images: Any) -> Any:
    return images / 128 - 1


@pytest.fixture
def scripted(squares: Dataset) -> Callable[..., Any]:
    """Train with the scripted weights of each epoch; the line that is kept, and the curves."""

    def run(lines: Sequence[tuple[float, float]], prepare: Any = scaled) -> Any:
        model = network()
        model.set_weights(weights(*lines[0]))

        def next_line(epoch: int, point: dict[str, float]) -> None:
            if epoch < len(lines):
                model.set_weights(weights(*lines[epoch]))

        settings = Settings(epochs=len(lines), learning_rate=STILL, batch_size=8)
        train = Trainer(squares, settings, 0, prepare, next_line)
        train(model)
        return line(model), train.history

    return run


def digits_network(dataset: Dataset) -> tf_keras.Model:
    tf_keras.utils.set_random_seed(7)
    inputs = tf_keras.Input(dataset.image_shape)
    x = tf_keras.layers.Conv2D(8, 3, strides=4, activation="relu")(inputs)
    x = tf_keras.layers.BatchNormalization(momentum=0.5, name="norm")(x)
    x = tf_keras.layers.Dropout(0.3)(tf_keras.layers.Flatten()(x))
    x = tf_keras.layers.Dense(dataset.num_classes)(x)
    return tf_keras.Model(inputs, tf_keras.layers.Softmax()(x))


def trained(dataset: Dataset, seed: int = 0, **options: Any) -> tuple[tf_keras.Model, Trainer]:
    model = digits_network(dataset)
    settings = Settings(**{"epochs": 2, "batch_size": 16, "learning_rate": 0.01, **options})
    train = Trainer(dataset, settings, seed, scaled, lambda epoch, point: None)
    train(model)
    return model, train


# which weights are kept


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


def test_a_loss_that_is_not_finite_ends_training_and_is_never_the_best(
    scripted: Callable[..., Any],
) -> None:
    kept, history = scripted([GOOD, (math.nan, 0.0), GOOD, GOOD])
    assert len(history["train/loss"]) == 2
    assert math.isnan(history["train/loss"][-1])
    assert kept == GOOD


def test_every_epoch_is_reported_as_it_ends(squares: Dataset) -> None:
    reported: list[tuple[int, dict[str, float]]] = []
    settings = Settings(epochs=3, batch_size=8)
    train = Trainer(squares, settings, 0, scaled, lambda n, point: reported.append((n, point)))
    train(network())
    assert [epoch for epoch, _ in reported] == [1, 2, 3]
    assert [*train.history] == [*CURVES.values()]
    assert {key: [p[key] for _, p in reported] for key in train.history} == train.history


@pytest.mark.parametrize(("floor", "epochs"), [(2.0, 4), (0.0, 4)])
def test_it_ends_early_if_the_floor_cannot_be_reached_or_is(
    squares: Dataset, floor: float, epochs: int
) -> None:
    settings = Settings(epochs=8, batch_size=16, learning_rate=STILL)
    limits = Limits(Goal(floor, whole=floor, images=100))
    train = Trainer(squares, settings, 0, scaled, lambda *_: None, limits=limits)
    train(network())
    assert len(train.history["val/loss"]) == epochs


# what is minimized


def test_the_loss_is_cross_entropy(scripted: Callable[..., Any]) -> None:
    _, history = scripted([FAINT, GOOD])
    margins = 2 * np.outer([0.1, 1.0], np.abs(PIXELS))
    expected = np.log1p(np.exp(-margins)).mean(axis=1)
    assert history["val/loss"] == pytest.approx(expected, abs=1e-5)


def test_a_model_whose_softmax_is_an_activation_is_trained_on_its_scores(squares: Dataset) -> None:
    inputs = tf_keras.Input((4, 4, 1))
    x = tf_keras.layers.GlobalAveragePooling2D()(inputs)
    model = tf_keras.Model(inputs, tf_keras.layers.Dense(2, activation="softmax")(x))
    model.set_weights(weights(0.0, 0.0))
    settings = Settings(epochs=1, batch_size=16, learning_rate=STILL)
    train = Trainer(squares, settings, 0, scaled, lambda epoch, point: None)
    train(model)
    assert train.history["train/loss"] == pytest.approx([math.log(2)], abs=1e-5)


def test_scores_that_no_float_can_hold_still_have_a_loss(scripted: Callable[..., Any]) -> None:
    _, history = scripted([(-1000.0, 0.0)])
    # on scores the loss would be cut off at -log(1e-7) = 16
    assert history["val/loss"][0] == pytest.approx(2000, rel=0.01)


def test_images_are_prepared_for_training_and_for_validation(scripted: Callable[..., Any]) -> None:
    _, history = scripted([GOOD], prepare=lambda images: scaled(255.0 - images))
    assert history["train/accuracy"] == history["val/accuracy"] == [0.0]


def test_labels_may_be_shares_of_the_classes() -> None:
    scores = np.array([[2.0, 1.0, 0.1], [0.0, 3.0, 1.0]], np.float32)
    shares = np.array([[0.6, 0.0, 0.4], [0.3, 0.7, 0.0]], np.float32)
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    loss = trainer._cross_entropy(True, 3)
    np.testing.assert_allclose(loss(shares, scores), -(shares * logs).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(loss(np.int32([2, 0]), scores), -logs[[0, 1], [2, 0]], rtol=1e-5)


@pytest.mark.parametrize(
    "labels", [np.float32([[0.6, 0.0, 0.4], [0.3, 0.7, 0.0]]), np.int32([0, 1])]
)
def test_the_largest_share_of_a_label_counts_as_right(labels: Any) -> None:
    scores = np.array([[2.0, 1.0, 0.1], [0.0, 3.0, 1.0]], np.float32)
    metric = trainer._accuracy(3)
    metric.update_state(labels, scores)
    assert float(metric.result()) == 1.0
    metric.update_state(labels, scores[::-1])
    assert float(metric.result()) == 0.5


def test_mixed_images_are_learned_from(few_digits: Dataset) -> None:
    options = {"augmentation": {"mixup": 0.4, "cutmix": 1.0}, "epochs": 4}
    _, train = trained(few_digits, **options)
    assert train.history["train/loss"][-1] < train.history["train/loss"][0]


# how


def test_weights_move_as_adam_along_a_cosine_says(squares: Dataset) -> None:
    model, seen = network(), list[np.ndarray]()
    model.set_weights(weights(*FAINT))
    settings = Settings(epochs=4, batch_size=16, learning_rate=0.1)  # one step per epoch

    def note(epoch: int, point: dict[str, float]) -> None:
        seen.append(np.concatenate([w.ravel() for w in model.get_weights()]))

    Trainer(squares, settings, 0, scaled, note)(model)
    w = np.concatenate([part.ravel() for part in weights(*FAINT)]).astype(float)
    m = a = 0 * w
    for t, found in enumerate(seen, 1):
        logits = np.outer(PIXELS, w[:2]) + w[2:]
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True) - np.eye(2)
        g = np.concatenate([(PIXELS[:, None] * p).mean(axis=0), p.mean(axis=0)])
        m, a = 0.9 * m + 0.1 * g, 0.999 * a + 0.001 * g**2
        rate = 0.1 * (1 + math.cos(math.pi * (t - 1) / 4)) / 2
        w = w - rate * math.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(a) + 1e-7)
        np.testing.assert_allclose(found, w, atol=1e-4)


def test_the_same_seed_trains_the_same_network(few_digits: Dataset) -> None:
    (one, first), (other, second) = (trained(few_digits, seed=3) for _ in range(2))
    _, third = trained(few_digits, seed=4)
    assert first.history == second.history != third.history
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_fixed_norms_keep_what_they_have(few_digits: Dataset) -> None:
    model, _ = trained(few_digits, fix_norms=True, epochs=1)
    before = digits_network(few_digits)
    moved = {
        layer.name: any((a != b).any() for a, b in zip(layer.get_weights(), old, strict=True))
        for layer, was in zip(model.layers, before.layers, strict=True)
        if (old := was.get_weights())
    }
    assert [name for name, far in moved.items() if not far] == ["norm"]
    assert all(layer.trainable for layer in model.layers)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("optimizer", "sgd"), ("label_smoothing", 0.1), ("ema", 0.9), ("patience", 2), ("l2", 0.1)],
)
def test_a_setting_without_effect_is_refused(squares: Dataset, setting: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"Received: {setting}={value}"):
        Trainer(squares, Settings(**{setting: value}), 0, scaled, lambda epoch, point: None)


# scores that are independent of each other


@pytest.mark.parametrize(("units", "kind"), [(1, "sigmoid"), (2, "sigmoids")])
def test_sigmoids_learn_from_binary_cross_entropy(units: int, kind: Any, squares: Dataset) -> None:
    inputs = tf_keras.Input((4, 4, 1))
    x = tf_keras.layers.Dense(units)(tf_keras.layers.GlobalAveragePooling2D()(inputs))
    model = tf_keras.Model(inputs, tf_keras.layers.Activation("sigmoid")(x))
    z = np.array([[-1.0, 1.0]])[:, -units:] * 0.5
    model.set_weights([z, np.zeros(units)])
    settings = Settings(epochs=1, learning_rate=STILL, batch_size=8)
    train = Trainer(squares, settings, 0, scaled, lambda epoch, point: None, kind)
    train(model)
    logits = PIXELS[:, None] * z
    right = np.eye(2)[:, -units:]
    expected = np.mean((np.logaddexp(0, logits) - right * logits).sum(axis=1))
    assert train.history["val/loss"][0] == pytest.approx(expected, rel=1e-4)
    assert train.history["val/accuracy"] == [1.0]


def test_sigmoids_without_a_layer_of_their_own_learn_too(squares: Dataset) -> None:
    inputs = tf_keras.Input((4, 4, 1))
    pooled = tf_keras.layers.GlobalAveragePooling2D()(inputs)
    ends = [tf_keras.layers.Dense(1, activation="sigmoid")(pooled) for _ in range(2)]
    model = tf_keras.Model(inputs, tf_keras.layers.Average()(ends))
    model.set_weights([np.array([[0.5]]), np.zeros(1)] * 2)
    settings = Settings(epochs=1, learning_rate=STILL, batch_size=8)
    train = Trainer(squares, settings, 0, scaled, lambda epoch, point: None, "sigmoid")
    train(model)
    logits = PIXELS * 0.5
    expected = np.mean(np.logaddexp(0, logits) - np.array([0, 1]) * logits)
    assert train.history["val/loss"][0] == pytest.approx(expected, rel=1e-3)
    assert train.history["val/accuracy"] == [1.0]


# another objective, and weights of classes


@pytest.mark.parametrize("goal", ["balanced_accuracy", "macro_f1", "auc"])
def test_another_objective_is_that_of_the_network_after_the_epoch(
    few_digits: Dataset, goal: Objective
) -> None:
    model = digits_network(few_digits)
    settings = Settings(epochs=2, batch_size=16, learning_rate=0.01)
    plain = Trainer(few_digits, settings, 0, scaled, lambda epoch, point: None)
    plain(digits_network(few_digits))
    train = Trainer(few_digits, settings, 0, scaled, lambda *_: None, objective=goal)
    train(model)
    val = few_digits.val
    scores = model.predict(scaled(val.images[val.index].astype(np.float32)), verbose=0)
    history = dict(train.history)
    own = history.pop(f"val/{goal}")
    assert max(own) == pytest.approx(measured(goal, val.labels, scores), abs=1e-6)
    assert history == plain.history


def test_the_objective_decides_which_epoch_is_kept(squares: Dataset) -> None:
    # 18 val images are labelled black, of which 4 are white; 2 are labelled white
    black, white = (squares.val.index[squares.val.labels == k] for k in (0, 1))
    rows = np.concatenate([np.resize(black, 14), np.resize(white, 6)])
    labels = np.array([0] * 18 + [1] * 2, np.int32)
    data = replace(squares, val=Split(squares.val.images, labels, rows))
    always = (1.0, -5.0)  # black
    for goal, kept in (("accuracy", always), ("balanced_accuracy", GOOD)):
        model = network()
        model.set_weights(weights(*always))
        settings = Settings(epochs=2, learning_rate=STILL, batch_size=8)
        first = [weights(*GOOD)]

        def step(epoch: int, point: Any, first: Any = first, model: Any = model) -> None:
            if epoch == 1:
                model.set_weights(first[0])

        Trainer(data, settings, 0, scaled, step, objective=goal)(model)  # type: ignore[arg-type]
        assert line(model) == kept


def test_the_train_loss_is_weighed_by_class_and_that_of_val_is_not(squares: Dataset) -> None:
    found = {}
    for weighed in ("none", {"white": 3.0}):
        model = network()
        model.set_weights(weights(*HALF))
        settings = Settings(epochs=1, learning_rate=STILL, batch_size=8, class_weights=weighed)
        train = Trainer(squares, settings, 0, scaled, lambda *_: None)
        train(model)
        found[str(weighed)] = train.history
    plain, other = found.values()
    margins = np.array([-1, 1]) * (HALF[0] * PIXELS + HALF[1])  # half of the logits' difference
    black, white = np.log1p(np.exp(-2 * margins))
    assert plain["train/loss"] == [pytest.approx((black + white) / 2, rel=1e-4)]
    assert other["train/loss"] == [pytest.approx((black + 3 * white) / 2, rel=1e-4)]
    assert other["val/loss"] == plain["val/loss"]
    assert other["train/accuracy"] == plain["train/accuracy"]
