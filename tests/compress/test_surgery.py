"""Networks of other widths: what they compute, and what they cost, without and with doubling."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import search_spaces
from pipeline.compress import surgery
from pipeline.graph import channels, complexity
from pipeline.graph.channels import Channels
from search_spaces.base import Cheapest, build


def shaken(model: keras.Model) -> keras.Model:
    """Random weights in every layer, so that none of them is easily left out."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
        elif weight.name in ("beta", "moving_mean", "bias"):
            weight.assign(random.normal(0, 0.3, weight.shape))
    return model


def chain(*body: Any) -> Channels:
    """The channels of a network of layers one after the other, with scores of two classes."""
    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((6, 6, 1))
    for layer in (*body, layers.Flatten(), layers.Dense(2)):
        x = layer(x)
    return channels.find(keras.Model(inputs, x))


def copies(found: Channels, layer: Any, counts: list[int]) -> np.ndarray:
    """So many copies of the channels that a layer writes; one of all others."""
    numbers = np.ones(found.count, np.int64)
    numbers[found.writes[id(layer)]] = counts
    return numbers


def test_the_count_of_removed_channels_is_that_by_hand() -> None:
    conv = layers.Conv2D(4, 3)  # 9 x 4 weights at 4 x 4 places; 64 x 2 weights of the scores
    found = chain(conv)
    count = surgery.Count(found)
    assert count(np.ones(found.count, int)) == 9 * 4 * 16 + 64 * 2
    assert count(copies(found, conv, [0, 1, 0, 0])) == 9 * 1 * 16 + 16 * 2
    assert count(copies(found, conv, [2, 1, 1, 1])) == 9 * 5 * 16 + 80 * 2


def test_settings_follow_the_channels() -> None:
    conv, norm = layers.Conv2D(4, 3, name="conv"), layers.GroupNormalization(4, name="norm")
    reshape = layers.Reshape((16, 4), name="rows")
    found = chain(conv, norm, reshape)
    made = surgery.resized(found, copies(found, conv, [1, 0, 1, 1]))
    assert made.get_layer("conv").filters == 3
    assert made.get_layer("norm").groups == 3
    assert made.get_layer("rows").target_shape == (16, 3)


def test_the_network_that_it_is_made_of_stays_as_it_is() -> None:
    conv = layers.Conv2D(4, 3)
    found = chain(conv)
    before = found.model.get_weights()
    surgery.resized(found, copies(found, conv, [0, 2, 1, 1]), noise=0.1)
    for now, then in zip(found.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("kind", [layers.Conv2D, layers.SeparableConv2D, layers.Conv2DTranspose])
def test_noise_tells_the_copies_of_a_channel_apart(kind: Any) -> None:
    conv = kind(3, 3, use_bias=False, name="conv")
    found = chain(conv)
    doubled = copies(found, conv, [1, 2, 1])
    plain, noisy, again, other = (
        surgery.resized(found, doubled, noise, seed).get_layer("conv").get_weights()[-1]
        for noise, seed in ((0.0, 0), (0.1, 0), (0.1, 0), (0.1, 1))
    )
    axis = -2 if kind is layers.Conv2DTranspose else -1
    changed = np.moveaxis(plain != noisy, axis, -1).reshape(-1, 4)
    assert changed.all(axis=0).tolist() == [False, False, True, False]
    assert changed.any(axis=0).tolist() == [False, False, True, False]
    np.testing.assert_array_equal(noisy, again)
    assert np.any(noisy != other)


def test_doubled_channels_leave_the_scores_as_they_are() -> None:
    arch = search_spaces.family("mobilenet").sample(Cheapest())
    model = shaken(build("mobilenet", arch, (16, 16, 1), 3))
    found = channels.find(model)
    copies = np.ones(found.count, np.int64)
    for group in found.groups:
        copies[group.classes[::3]] = 2
    wide = surgery.resized(found, copies)
    images = np.random.default_rng(1).uniform(0, 255, (2, 16, 16, 1))
    before, after = (np.asarray(m(images, training=False)) for m in (model, wide))
    np.testing.assert_allclose(after, before, atol=1e-5)
    assert complexity.profile(wide).macs == surgery.Count(found)(copies)
    assert complexity.profile(wide).macs > complexity.profile(model).macs
