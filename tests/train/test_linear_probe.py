"""A linear layer that is fitted to features: the best one, in the scale of the features."""

import numpy as np
import pytest

from pipeline.train import linear_probe
from pipeline.train.linear_probe import Sample


def sample(count: int, classes: int, seed: int, noise: float = 0.5) -> Sample:
    """Features of very different scales, one of them constant; each class has a centre."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = np.random.default_rng(0).normal(size=(classes, 6))
    features = centres[labels] + noise * rng.normal(size=(count, 6))
    features = np.hstack([features, np.zeros((count, 1))])
    return Sample(features * [1e-3, 1, 1e3, 1, 1, 10, 1] + 5, labels)


def scores(found: linear_probe.Probe, features: np.ndarray) -> np.ndarray:
    return np.asarray(features @ found.kernel + found.bias)


@pytest.mark.parametrize("classes", [2, 5])
def test_classes_that_a_layer_can_tell_apart_are_told_apart(classes: int) -> None:
    val = sample(100, classes, seed=2, noise=0.1)
    found = linear_probe.fit(sample(100, classes, seed=1, noise=0.1), val, classes)
    assert found.kernel.shape == (7, classes)
    assert found.bias.shape == (classes,)
    assert found.accuracy == 1
    assert np.array_equal(scores(found, val.features).argmax(-1), val.labels)


def test_the_accuracy_is_that_of_the_layer_on_the_features_as_they_are() -> None:
    val = sample(200, 5, seed=2, noise=1.5)
    found = linear_probe.fit(sample(60, 5, seed=1, noise=1.5), val, 5)
    accuracy = np.mean(scores(found, val.features).argmax(-1) == val.labels)
    assert found.accuracy == accuracy
    assert 0.3 < accuracy < 1


def test_with_noise_alone_the_penalty_is_strong() -> None:
    rng = np.random.default_rng(0)
    noise = [Sample(rng.normal(size=(60, 200)), np.arange(60) % 3) for _ in range(2)]
    found = linear_probe.fit(noise[0], noise[1], 3)
    clear = linear_probe.fit(sample(60, 3, 1, 0.1), sample(60, 3, 2, 0.1), 3)
    assert np.abs(found.kernel).max() < np.abs(clear.kernel).max()


def test_a_class_without_images_is_never_named() -> None:
    train, val = sample(40, 2, seed=1), sample(40, 2, seed=2)
    found = linear_probe.fit(
        Sample(train.features, train.labels * 2), Sample(val.features, val.labels * 2), 3
    )
    assert set(scores(found, val.features).argmax(-1)) == {0, 2}
    assert found.accuracy > 0.9
