"""What is minimized: soft labels, auxiliary classifiers, a teacher; on val, the labels alone."""

from typing import Any

import keras
import numpy as np
import pytest

from pipeline.data.datasets import Dataset
from pipeline.train import losses, training
from pipeline.train.losses import Lessons
from pipeline.train.settings import Settings
from pipeline.train.training import Session
from search_spaces import inception
from search_spaces.base import Cheapest

SCORES = np.array([[2.0, 1.0, 0.1], [0.0, 3.0, 1.0]], np.float32)
SOFT = np.array([[0.6, 0.0, 0.4], [0.3, 0.7, 0.0]], np.float32)
LOGS = SCORES - np.log(np.exp(SCORES).sum(axis=1, keepdims=True))
FROZEN = {"optimizer": "sgd", "learning_rate": 1e-12, "schedule": "constant"}


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(
    ("labels", "shares"), [(SOFT, SOFT), (np.int32([2, 0]), np.eye(3)[[2, 0]])]
)
def test_the_loss_takes_labels_and_shares_of_them(
    smoothing: float, labels: Any, shares: Any
) -> None:
    loss = losses.cross_entropy(smoothing, True, 3)
    expected = -(((1 - smoothing) * shares + smoothing / 3) * LOGS).sum(axis=1)
    np.testing.assert_allclose(np.asarray(loss(labels, SCORES)), expected, rtol=1e-5)


@pytest.mark.parametrize("labels", [SOFT, np.int32([0, 1]), np.int32([[0], [1]])])
def test_the_largest_share_of_a_label_counts_as_right(labels: Any) -> None:
    metric = losses.accuracy(3)
    metric.update_state(labels, SCORES)
    assert float(metric.result()) == 1.0
    metric.update_state(labels, SCORES[::-1])
    assert float(metric.result()) == 0.5


def network(dataset: Dataset, seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    inputs = keras.Input(dataset.image_shape)
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 128, offset=-1.0)(inputs))
    x = keras.layers.Dense(16, activation="relu")(x)
    return keras.Model(inputs, keras.layers.Softmax()(keras.layers.Dense(dataset.num_classes)(x)))


def test_mixed_images_are_learned_from(few_digits: Dataset) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(few_digits.image_shape)
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 128, offset=-1.0)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x))
    settings = Settings(
        epochs=6,
        batch_size=16,
        learning_rate=0.01,
        label_smoothing=0.1,
        augmentation={"mixup": 0.4, "cutmix": 1.0},
    )
    history = training.fit(model, few_digits, settings, 0, Session(""))
    assert history["train/accuracy"][-1] > history["train/accuracy"][0]
    assert history["val/accuracy"][-1] > 0.3


# auxiliary classifiers


ARCH = inception.sample(Cheapest())


@pytest.mark.slow
def test_auxiliary_classifiers_add_to_the_training_loss_alone(few_digits: Dataset) -> None:
    settings = Settings(epochs=1, batch_size=96, **FROZEN)

    def run(with_heads: bool) -> tuple[keras.Model, Any]:
        keras.utils.set_random_seed(0)
        model = inception.build(ARCH, few_digits.image_shape, 10)
        heads = inception.auxiliary(model, ARCH, 10) if with_heads else ()
        lessons = Lessons(heads=heads)
        return model, training.fit(model, few_digits, settings, 0, Session(""), lessons=lessons)

    (_, plain), (model, taught) = run(False), run(True)
    assert [len(output) for output in (model.outputs,)] == [1]
    assert taught["val/loss"] == pytest.approx(plain["val/loss"], rel=1e-5)
    assert taught["val/accuracy"] == plain["val/accuracy"]
    assert taught["train/accuracy"] == plain["train/accuracy"]
    # two untrained classifiers of ten classes, with dropout
    added = taught["train/loss"][0] - plain["train/loss"][0]
    assert 0.3 * 2 * 0.8 * np.log(10) < added < 0.3 * 2 * 3 * np.log(10)


@pytest.mark.slow
def test_auxiliary_classifiers_train_the_network(few_digits: Dataset) -> None:
    keras.utils.set_random_seed(0)
    model = inception.build(ARCH, few_digits.image_shape, 10)
    before = model.get_weights()
    heads = inception.auxiliary(model, ARCH, 10)
    settings = Settings(epochs=1, batch_size=32, ema=0.9, label_smoothing=0.1)
    training.fit(model, few_digits, settings, 0, Session(""), lessons=Lessons(heads=heads))
    assert len(model.get_weights()) == len(before)
    assert all((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))


# a teacher


def distilled(dataset: Dataset, weight: float, **options: Any) -> tuple[Any, Any, Any]:
    model, teacher = network(dataset), network(dataset, seed=1)
    settings = Settings(**{"epochs": 1, "batch_size": 96, **FROZEN, **options})
    lessons = Lessons(teacher=teacher, temperature=3.0, weight=weight, source="teacher")
    return model, teacher, training.fit(model, dataset, settings, 0, Session(""), lessons=lessons)


def test_a_teacher_takes_its_share_of_the_loss(few_digits: Dataset) -> None:
    images = few_digits.train.images[few_digits.train.index].astype("float32")
    model, teacher, history = distilled(few_digits, 0.25)
    own, wanted = (np.log(np.asarray(m(images))) for m in (model, teacher))

    def soft(logs: np.ndarray) -> np.ndarray:
        powers = np.exp(logs / 3)
        return powers / powers.sum(axis=1, keepdims=True)

    hard = -own[np.arange(96), few_digits.train.labels].mean()
    divergence = (soft(wanted) * np.log(soft(wanted) / soft(own))).sum(axis=1).mean()
    expected = 0.75 * hard + 0.25 * 9 * divergence
    assert history["train/loss"] == pytest.approx([expected], rel=1e-3)


def test_val_is_scored_without_the_teacher(few_digits: Dataset) -> None:
    (*_, one), (*_, other) = (distilled(few_digits, weight) for weight in (0.0, 1.0))
    assert one["val/loss"] == pytest.approx(other["val/loss"], rel=1e-5)
    assert one["train/loss"] != pytest.approx(other["train/loss"], rel=1e-2)


def test_a_network_comes_to_agree_with_its_teacher(few_digits: Dataset) -> None:
    options = {"epochs": 10, "batch_size": 16, "learning_rate": 0.01, "optimizer": "adam"}
    _, _, history = distilled(few_digits, 1.0, **options)
    assert history["train/loss"][-1] < 0.2 * history["train/loss"][0]  # the divergence alone


def test_the_teacher_stays_as_it_is(few_digits: Dataset) -> None:
    _, teacher, _ = distilled(few_digits, 0.5, learning_rate=0.1)
    for a, b in zip(teacher.get_weights(), network(few_digits, 1).get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


# scores that are independent of each other


def binary(z: np.ndarray, q: np.ndarray) -> np.ndarray:
    return (np.logaddexp(0, z) - q * z).sum(axis=1)


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(
    ("labels", "shares"), [(SOFT, SOFT), (np.int32([2, 0]), np.eye(3)[[2, 0]])]
)
def test_the_binary_loss_takes_labels_and_shares_of_them(
    labels: Any, shares: Any, smoothing: float, from_logits: bool
) -> None:
    loss = losses.binary_cross_entropy(smoothing, from_logits, 3)
    expected = binary(SCORES, (1 - smoothing) * shares + smoothing / 3)
    scores = SCORES if from_logits else 1 / (1 + np.exp(-SCORES))
    np.testing.assert_allclose(np.asarray(loss(labels, scores)), expected, rtol=1e-4)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("labels", [np.int32([1, 0]), np.float32([[0.3, 0.7], [0.9, 0.1]])])
def test_one_output_has_the_loss_of_two(labels: Any, smoothing: float) -> None:
    z = SCORES[:, :1]
    one = losses.binary_cross_entropy(smoothing, True, 2)(labels, z)
    two = losses.cross_entropy(smoothing, True, 2)(labels, np.concatenate([0 * z, z], axis=1))
    np.testing.assert_allclose(np.asarray(one), np.asarray(two), rtol=1e-5)


@pytest.mark.parametrize(("half", "right"), [(0.0, 1.0), (0.5, 0.5)])
@pytest.mark.parametrize("labels", [np.int32([1, 0]), np.float32([[0.2, 0.8], [0.9, 0.1]])])
def test_one_output_counts_as_the_second_class_above_the_half(
    labels: Any, half: float, right: float
) -> None:
    metric = losses.accuracy(2, half)
    metric.update_state(labels, np.float32([[0.3], [-0.2]]))
    assert float(metric.result()) == right


@pytest.mark.slow
@pytest.mark.parametrize("units", [1, 2])
@pytest.mark.parametrize("mixed", [{}, {"augmentation": {"mixup": 0.4}, "label_smoothing": 0.1}])
def test_sigmoids_learn(units: int, mixed: Any, squares: Dataset) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 128, -1.0)(inputs))
    x = keras.layers.Activation("sigmoid")(keras.layers.Dense(units)(x))
    model = keras.Model(inputs, x)
    start = np.array([[0.5, -0.5]], np.float32)[:, -units:]
    model.layers[-2].set_weights([start, np.zeros(units)])
    settings = Settings(epochs=8, batch_size=8, learning_rate=0.3, **mixed)
    history = training.fit(model, squares, settings, 0, Session(""))
    assert history["val/accuracy"][-1] == 1.0
    white = np.full((1, 4, 4, 1), 255, np.float32)
    assert float(np.asarray(model(white))[0, -1]) > 0.6
