"""Slimming: the target is met, no layer is lost, and what matters least goes first."""

import keras
import numpy as np
import pytest
from keras import layers

import search_spaces
from pipeline.compress import slimming, surgery
from pipeline.errors import BudgetError
from pipeline.graph import channels, complexity, importance
from pipeline.graph.channels import Channels
from search_spaces.base import build


@pytest.fixture(scope="module")
def found() -> Channels:
    """The channels of a network with widths that 8 divides and some that it does not."""
    keras.utils.set_random_seed(0)
    vgg = search_spaces.family("vgg").NETWORKS["vgg11"].arch
    arch = vgg.model_copy(update={"filters": (20, 32, 48, 48, 48), "dense": (40,)})
    return channels.find(build("vgg", arch, (32, 32, 3), 10))


def flops(found: Channels) -> int:
    return complexity.profile(found.model).flops


def left(found: Channels, copies: np.ndarray) -> list[int]:
    return [int(copies[group.classes].sum()) for group in found.groups]


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.2])
def test_the_target_is_met_and_used(found: Channels, keep: float) -> None:
    ranks = importance.scores(found, "l2")
    copies = slimming.choose(found, ranks, int(keep * flops(found)), divisor=8)
    made = complexity.profile(surgery.resized(found, copies)).flops
    assert 0.8 * keep < made / flops(found) <= keep


def test_widths_stay_multiples_of_the_divisor(found: Channels) -> None:
    copies = slimming.choose(found, importance.scores(found, "l1"), flops(found) // 3, divisor=8)
    for group, width in zip(found.groups, left(found, copies), strict=True):
        step = 8 if len(group.classes) >= 24 else 4
        assert width == len(group.classes) or (width > 0 and width % step == 0)


def test_a_target_that_no_width_meets_is_an_error_with_the_least(found: Channels) -> None:
    with pytest.raises(BudgetError, match=r"Received: flops=1,000\. With the fewest channels"):
        slimming.choose(found, importance.scores(found, "l2"), 1000, divisor=8)


@pytest.mark.parametrize("score", ["l1", "l2"])
def test_channels_with_small_kernels_go_first(score: importance.Score) -> None:
    model, kernel = two_layers()
    model.get_layer("wide").kernel.assign(kernel * np.where(np.arange(16) % 2, 1.0, 0.1))
    found = channels.find(model)
    copies = slimming.choose(
        found, importance.scores(found, score), int(0.55 * flops(found)), divisor=8
    )
    kept = copies[found.writes[id(model.get_layer("wide"))]]
    np.testing.assert_array_equal(kept, np.arange(16) % 2)


def test_channels_with_a_small_gamma_go_first() -> None:
    model, _ = two_layers()
    model.get_layer("norm").gamma.assign(np.where(np.arange(16) % 2, 1.0, 0.1))
    found = channels.find(model)
    copies = slimming.choose(
        found, importance.scores(found, "gamma"), int(0.55 * flops(found)), divisor=8
    )
    kept = copies[found.writes[id(model.get_layer("wide"))]]
    np.testing.assert_array_equal(kept, np.arange(16) % 2)


def two_layers() -> tuple[keras.Model, np.ndarray]:
    """A network with one group of 16 channels, all alike, and the kernel that writes them."""
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(16, 3, name="wide", kernel_initializer="ones")(inputs)
    x = layers.GlobalAveragePooling2D()(layers.BatchNormalization(name="norm")(x))
    model = keras.Model(inputs, layers.Dense(2)(x))
    return model, np.asarray(model.get_layer("wide").kernel)


def test_expanding_makes_what_is_left_wider_within_the_target(found: Channels) -> None:
    ranks = importance.scores(found, "l2")
    target = flops(found) // 2
    narrow = slimming.choose(found, ranks, target // 2, divisor=8)
    wide = slimming.choose(found, ranks, target, divisor=8, expand=2.0)
    made = complexity.profile(surgery.resized(found, wide, noise=0.01)).flops
    assert complexity.profile(surgery.resized(found, narrow)).flops < made <= target
    assert all(a <= b for a, b in zip(left(found, narrow), left(found, wide), strict=True))


def test_the_penalty_is_part_of_the_loss_only_while_it_lasts() -> None:
    model, _ = two_layers()
    with slimming.penalized(model, 0.5):
        (loss,) = model.losses
        assert float(loss) == 8.0
    assert not model.losses
