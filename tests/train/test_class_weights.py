"""Weights of classes: what they are, that they weigh the loss of training, and only that."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.utils import class_weight

from pipeline.data.datasets import Dataset, Split
from pipeline.errors import RecipeError
from pipeline.train import class_weights, inputs, training
from pipeline.train.losses import Lessons
from pipeline.train.settings import Settings, mending
from pipeline.train.training import Session

Fitted = Callable[..., dict[str, list[float]]]


@pytest.fixture
def uneven(squares: Dataset) -> Dataset:
    """Train images of which one in four is white."""
    labels = squares.train.labels
    rows = np.concatenate([np.flatnonzero(labels == 0)[:6], np.flatnonzero(labels == 1)[:2]])
    train = Split(squares.train.images, labels[rows], squares.train.index[rows])
    return replace(squares, train=train)


def test_auto_is_what_scikit_learn_calls_balanced(uneven: Dataset) -> None:
    labels = uneven.train.labels
    expected = class_weight.compute_class_weight("balanced", classes=np.array([0, 1]), y=labels)
    np.testing.assert_allclose(class_weights.of("auto", uneven), expected, rtol=1e-6)


def test_a_class_without_train_images_weighs_as_the_mean(uneven: Dataset) -> None:
    three = replace(uneven, class_names=(*uneven.class_names, "grey"))
    found = class_weights.of("auto", three)
    assert found is not None
    assert found.tolist() == pytest.approx([8 / 12, 2.0, 1.0])


def test_a_mapping_names_the_classes_that_weigh_otherwise(uneven: Dataset) -> None:
    found = class_weights.of({"white": 5.0}, uneven)
    assert found is not None
    assert found.tolist() == [1.0, 5.0]


def test_a_class_that_the_data_do_not_have_is_one_line(uneven: Dataset) -> None:
    with pytest.raises(RecipeError, match=r"no such class\. Received: 'grey'\. Known: black, whi"):
        class_weights.of({"grey": 2.0}, uneven)


def test_the_smallest_and_the_largest_weight_are_told(uneven: Dataset) -> None:
    said = class_weights.told("auto", uneven)
    assert said == "an image of a class counts in the loss from 0.667 (black) to 2 (white) times"
    assert class_weights.told("none", uneven) is None


def test_without_weights_there_are_none_in_the_batches(uneven: Dataset) -> None:
    train, _ = inputs.streams(uneven, Settings(batch_size=8), 0)
    assert len(train.element_spec) == 2


def test_mixed_labels_have_the_weights_of_their_classes_by_their_shares(uneven: Dataset) -> None:
    settings = Settings(batch_size=8, augmentation={"mixup": 1.0}, class_weights={"white": 3.0})
    train, val = inputs.streams(uneven, settings, 0)
    _, labels, weights = next(train.as_numpy_iterator())
    np.testing.assert_allclose(weights, labels @ [1.0, 3.0], rtol=1e-6)
    assert ((labels > 0) & (labels < 1)).any()
    assert len(val.element_spec) == 2


@pytest.fixture
def fitted(uneven: Dataset) -> Fitted:
    """Train for an epoch of one batch, at a rate that changes nothing; the curves."""

    def run(ending: str = "softmax", lessons: Lessons | None = None, **options: Any) -> Any:
        model = network(ending)
        frozen: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 1e-12, "batch_size": 8}
        settings = Settings(epochs=1, schedule="constant", **frozen, **options)
        return training.fit(model, uneven, settings, 0, Session("test"), lessons=lessons)

    return run


def network(ending: str, scale: float = 1.0) -> Any:
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.Rescaling(1 / 128, offset=-1.0)(inputs)
    dense = keras.layers.Dense(1 if ending == "one" else 2)
    x = dense(keras.layers.GlobalAveragePooling2D()(x))
    kernel, bias = np.array([[0.3, 0.6]]) * scale, np.array([0.2, 0.0])
    dense.set_weights([kernel[:, : dense.units], bias[: dense.units]])
    last = keras.layers.Softmax() if ending == "softmax" else keras.layers.Activation("sigmoid")
    return keras.Model(inputs, last(x))


def entropies(uneven: Dataset, ending: str, smoothing: float) -> np.ndarray:
    """Cross-entropy of every train image, computed by hand."""
    labels = uneven.train.labels
    images = uneven.train.images[uneven.train.index].astype(np.float32)
    scores = network(ending).predict(images, verbose=0).astype(np.float64)
    wanted = (1 - smoothing) * np.eye(2)[labels] + smoothing / 2
    if ending == "softmax":
        return -(wanted * np.log(scores)).sum(axis=1)
    wanted = wanted[:, 1:] if scores.shape[1] == 1 else wanted
    return -(wanted * np.log(scores) + (1 - wanted) * np.log(1 - scores)).sum(axis=1)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("ending", ["softmax", "sigmoid", "one"])
def test_the_train_loss_is_weighed_and_that_of_val_is_not(
    uneven: Dataset, fitted: Fitted, ending: str, smoothing: float
) -> None:
    each = entropies(uneven, ending, smoothing)
    weights = np.array([1.0, 3.0])[uneven.train.labels]
    plain = fitted(ending, label_smoothing=smoothing)
    found = fitted(ending, label_smoothing=smoothing, class_weights={"white": 3.0})
    assert plain["train/loss"] == [pytest.approx(each.mean(), rel=1e-4)]
    assert found["train/loss"] == [pytest.approx((weights * each).mean(), rel=1e-4)]
    for curve in ("val/loss", "val/accuracy", "train/accuracy"):
        assert found[curve] == plain[curve]


def test_a_teacher_is_imitated_alike_on_all_classes(uneven: Dataset, fitted: Fitted) -> None:
    lessons = Lessons(teacher=network("softmax", scale=3.0), weight=0.4)
    plain, found = (
        fitted(lessons=lessons, class_weights=weights)["train/loss"][0]
        for weights in ("none", {"white": 3.0})
    )
    each = entropies(uneven, "softmax", 0.0)
    weights = np.array([1.0, 3.0])[uneven.train.labels]
    assert found - plain == pytest.approx(0.6 * ((weights - 1) * each).mean(), rel=1e-3)


def test_later_training_of_the_same_network_keeps_the_weights() -> None:
    kept = mending({"class_weights": {"white": 3.0}, "sampling": "balanced"}, 3, 1e-3)
    assert (kept.class_weights, kept.sampling) == ({"white": 3.0}, "balanced")
