"""Factors of kernels: exact at full rank, cheaper below it, and only where that is cheaper."""

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.compress import lowrank
from pipeline.compress.lowrank import Factors, Method
from pipeline.errors import BudgetError
from pipeline.graph import complexity, walk


@pytest.fixture
def model() -> keras.Model:
    """A network with a layer of every kind that can be factorized, and some that cannot."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12, 12, 3))
    x = layers.Rescaling(1 / 128, -1.0)(inputs)
    x = layers.Conv2D(12, 5, padding="same", activation="relu", name="large")(x)
    x = layers.Conv2D(16, 3, strides=2, padding="same", name="strided")(x)
    x = layers.Conv2D(16, 1, strides=2, name="flat")(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, padding="same", name="deep")(x)
    x = layers.Dense(24, activation="tanh", name="dense")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(4, activation="softmax", name="scores")(x))


def whole(model: keras.Model, method: Method) -> dict[int, Factors]:
    """The factors of every layer at full rank, although they cost more."""
    found = {}
    for layer in model.layers:
        if hasattr(layer, "kernel") and not lowrank.refusal(layer, method):
            kind = lowrank._form(layer, method)
            parts = lowrank.FORMS[kind](np.asarray(layer.kernel), 1.0)
            found[id(layer)] = Factors(kind, parts, 1.0, 0)
    return found


@pytest.mark.parametrize("method", ["tucker", "separable"])
def test_at_full_rank_the_scores_stay_as_they_are(model: keras.Model, method: Method) -> None:
    found = whole(model, method)
    assert len(found) == 5
    images = np.random.default_rng(0).uniform(0, 255, (4, 12, 12, 3))
    before = np.asarray(model(images))
    after = np.asarray(lowrank.replaced(model, found)(images))
    assert np.ptp(before) > 0.01
    np.testing.assert_allclose(after, before, atol=1e-4)


@pytest.mark.parametrize("method", ["tucker", "separable"])
def test_the_count_of_factors_is_that_of_the_model(model: keras.Model, method: Method) -> None:
    found = lowrank.factors(model, 0.3, method)
    rows = zip(walk.calls(model), complexity.profile(model).layers, strict=True)
    expected = sum(found[id(c[0])].macs if id(c[0]) in found else r.macs for c, r in rows)
    macs = complexity.profile(lowrank.replaced(model, found)).macs
    assert macs == expected < complexity.profile(model).macs


def test_a_target_is_met_with_the_largest_share_of_energy(model: keras.Model) -> None:
    target = complexity.profile(model).flops // 2
    made = lowrank.replaced(model, lowrank.within(model, target, "tucker"))
    assert 0.8 * target < complexity.profile(made).flops <= target


def test_a_target_below_rank_one_is_an_error(model: keras.Model) -> None:
    with pytest.raises(BudgetError, match=r"Received: flops=10\. With rank 1 it has"):
        lowrank.within(model, 10, "tucker")


def test_the_best_form_of_a_kernel_of_low_rank_is_the_kernel() -> None:
    random = np.random.default_rng(0)
    kernel = random.normal(size=(20, 3)) @ random.normal(size=(3, 30))
    left, right = lowrank.svd(kernel, 0.9999)
    assert left.shape == (20, 3)
    np.testing.assert_allclose(left @ right, kernel, atol=1e-9)


def test_tucker_of_the_second_layer_of_alexnet_has_a_third_of_its_weights() -> None:
    random = np.random.default_rng(0)
    core = random.normal(size=(5, 5, 25, 59))
    kernel = np.einsum("hwrs,ri,so->hwio", core, random.normal(size=(25, 48)),
                       random.normal(size=(59, 128)))  # fmt: skip
    parts = lowrank.tucker(kernel, 1 - 1e-9)
    assert [part.shape for part in parts] == [(1, 1, 48, 25), (5, 5, 25, 59), (1, 1, 59, 128)]
    assert sum(part.size for part in parts) == 45_627  # of 153,600


@pytest.mark.parametrize(
    ("ranks", "shapes"),
    [
        ((2, 3), [(1, 1, 4, 2), (3, 3, 2, 3), (1, 1, 3, 8)]),
        ((4, 3), [(3, 3, 4, 3), (1, 1, 3, 8)]),
        ((2, 8), [(1, 1, 4, 2), (3, 3, 2, 8)]),
    ],
)
@pytest.mark.parametrize("strides", [1, 2])
def test_tucker_has_no_part_that_saves_nothing(
    ranks: tuple[int, int], shapes: list[tuple[int, ...]], strides: int
) -> None:
    random = np.random.default_rng(0)
    core = random.normal(size=(3, 3, *ranks))
    kernel = np.einsum("hwrs,ri,so->hwio", core, random.normal(size=(ranks[0], 4)),
                       random.normal(size=(ranks[1], 8)))  # fmt: skip
    model = keras.Sequential(
        [keras.Input((9, 9, 4)), layers.Conv2D(8, 3, strides, "same", activation="relu")]
    )
    model.layers[0].set_weights([kernel, random.normal(size=8)])
    parts = lowrank.tucker(kernel, 1 - 1e-9)
    assert [part.shape for part in parts] == shapes
    factors = Factors("tucker", parts, 1.0, 0)
    assert factors.rank == f"{ranks[0]} x {ranks[1]}"
    made = lowrank.replaced(model, {id(model.layers[0]): factors})
    images = random.normal(size=(2, 9, 9, 4))
    np.testing.assert_allclose(made(images), model(images), atol=1e-3)
