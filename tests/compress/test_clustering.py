"""Clustering: few values, the right ones, and no zero made or lost."""

from typing import Any, get_args

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.compress import clustering
from pipeline.compress.clustering import Centroids, Plan
from pipeline.data.datasets import Dataset
from pipeline.graph import structure
from pipeline.train import training
from pipeline.train.settings import Settings

STARTS: tuple[Centroids, ...] = get_args(Centroids)
every_start = pytest.mark.parametrize("start", STARTS)


def shared(weights: Any, count: int, start: Centroids = "linear") -> np.ndarray:
    return clustering.shared(np.float32(weights), count, start, np.random.default_rng(0))


def pruned(seed: int = 0, size: int = 2000) -> np.ndarray:
    weights = np.random.default_rng(seed).normal(size=size).astype(np.float32)
    return np.where(np.abs(weights) < 0.5, np.float32(0), weights)


# values


@every_start
@pytest.mark.parametrize("count", [3, 16, 256])
def test_there_are_as_many_values_as_clusters(start: Centroids, count: int) -> None:
    assert len(np.unique(shared(pruned(), count, start))) == count


@every_start
def test_zeros_stay_and_no_other_weight_becomes_one(start: Centroids) -> None:
    weights = pruned()
    np.testing.assert_array_equal(shared(weights, 4, start) == 0, weights == 0)


@every_start
def test_a_kernel_without_zeros_gets_none(start: Centroids) -> None:
    assert np.all(shared([-3, -3, -1, 1, 3, 3], 3, start) != 0)


@every_start
def test_every_weight_has_the_mean_of_those_that_are_nearest_to_it(start: Centroids) -> None:
    weights = pruned()
    made = shared(weights, 12, start)
    values = np.unique(made[made != 0])
    for value in values:
        assert value == pytest.approx(weights[made == value].mean(), abs=1e-5)
    nearest = values[np.argmin(np.abs(weights[:, None] - values), axis=1)]
    np.testing.assert_array_equal(nearest[weights != 0], made[weights != 0])


@every_start
def test_groups_that_stand_apart_are_found(start: Centroids) -> None:
    weights = np.concatenate([np.linspace(a, a + 0.1, 50) for a in (-9, -8.5, 1, 100)])
    values = np.unique(shared(weights, 4, start))
    expected = [-8.95, -8.45, 1.05, 100.05]
    assert start == "random" or values == pytest.approx(expected, rel=1e-3)
    assert len(values) == 4  # an unlucky draw ends elsewhere, but loses no cluster


def test_the_start_decides_where_the_clusters_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustering, "ROUNDS", 0)
    weights = np.append(np.linspace(1, 2, 99), 100)
    assert np.sum(shared(weights, 3, "linear") == 100) == 1
    assert np.sum(shared(weights, 3, "density") > 2) == 34


def test_few_weights_stay_as_they_are() -> None:
    weights = np.float32([0, 1, 1, 2, -3])
    np.testing.assert_array_equal(shared(weights, 4), weights)


def test_what_is_clustered_can_be_clustered_again_with_fewer_values() -> None:
    once = shared(pruned(), 16)
    np.testing.assert_array_equal(shared(once, 16), once)
    again = shared(once, 4)
    assert len(np.unique(again)) == 4
    np.testing.assert_array_equal(again == 0, once == 0)


# models


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, name="conv")(inputs)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.SeparableConv2D(12, 3, name="separable")(x)
    x = layers.Conv2DTranspose(6, 3, name="transposed")(x)
    return keras.Model(inputs, layers.Dense(10, name="dense")(x))


def values(kernel: Any, axis: int | None = None) -> int:
    """Most distinct values of the kernel or, with an axis, of one channel."""
    weights = np.asarray(kernel)
    parts = [weights] if axis is None else np.moveaxis(weights, axis, 0)
    return max(len(np.unique(part)) for part in parts)


def test_convolutions_and_dense_layers_have_numbers_of_their_own() -> None:
    model = network()
    clustering.cluster(model, Plan(conv=8, dense=5))
    counts = {name: values(model.get_layer(name).kernel) for name in ("conv", "transposed")}
    assert counts == {"conv": 8, "transposed": 8}
    assert values(model.get_layer("dense").kernel) == 5
    assert values(model.get_layer("separable").pointwise_kernel) == 8


def test_depthwise_kernels_stay_whole_and_say_why() -> None:
    model, whole = network(), network()
    found = clustering.cluster(model, Plan(conv=4, dense=4))
    kept = {kernel.variable.path for kernel in found if kernel.reason}
    assert kept == {"depthwise/kernel", "separable/depthwise_kernel"}
    for (_, kernel), (_, before) in zip(*map(structure.kernels, (model, whole)), strict=True):
        same = np.array_equal(np.asarray(kernel), np.asarray(before))
        assert same == (kernel.path in kept), kernel.path


def test_an_exempt_layer_stays_whole() -> None:
    model = network()
    before = np.array(model.get_layer("conv").kernel)
    conv, *_, dense = clustering.cluster(model, Plan(conv=4, dense=4), exempt=("conv",))
    np.testing.assert_array_equal(np.array(model.get_layer("conv").kernel), before)
    assert (conv.name, bool(conv.reason), bool(dense.reason)) == ("conv", True, False)
    assert values(dense.variable) == 4


@pytest.mark.parametrize(("name", "axis"), [("conv", -1), ("transposed", -2), ("dense", -1)])
def test_every_channel_can_have_values_of_its_own(name: str, axis: int) -> None:
    model = network()
    clustering.cluster(model, Plan(conv=4, dense=4, per="channel"))
    kernel = model.get_layer(name).kernel
    assert values(kernel, axis) == 4
    assert values(kernel) == 4 * kernel.shape[axis]
    assert structure.of(np.asarray(kernel), axis) == "channel_clusters"


@pytest.mark.parametrize("start", ["random", "kmeans++"])
def test_the_seed_decides_what_is_drawn(start: Centroids) -> None:
    one, same, other = (network() for _ in range(3))
    for model, seed in ((one, 1), (same, 1), (other, 2)):
        clustering.cluster(model, Plan(conv=4, dense=4, centroids=start, seed=seed))
    kernels = [np.array(model.get_layer("conv").kernel) for model in (one, same, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.any(kernels[0] != kernels[2])


# what a shared value is


@pytest.mark.parametrize("paced", [{}, {"old_rate": 0.5, "new_layers": ("dense",)}])
def test_any_optimizer_trains_a_shared_value_as_one_weight(
    paced: dict[str, Any], few_digits: Dataset
) -> None:
    """Adam moves a single weight by its rate in the first step, whatever the gradient."""
    inputs = keras.Input(few_digits.image_shape)
    dense = layers.Dense(10, use_bias=False, name="dense")
    model = keras.Model(inputs, layers.Softmax()(dense(layers.Flatten()(inputs / 255))))
    draw = np.random.default_rng(0).choice([-0.1, 0.05, 0.2], dense.kernel.shape)
    dense.kernel.assign(draw)
    rate = {"optimizer": "adam", "learning_rate": 0.01, "schedule": "constant", "epochs": 1}
    settings = Settings(**rate, batch_size=len(few_digits.train), **paced)
    with structure.kept(model):
        training.fit(model, few_digits, settings, 0, training.Session("one step"))
    moved = np.unique(np.round(np.abs(np.asarray(dense.kernel) - draw), 4))
    assert moved == pytest.approx([0.01], abs=1e-4)


def test_weights_of_large_inputs_are_met_more_closely() -> None:
    """Of 1 and 2 together, the one that counts nine times as much is nearer to their value."""
    weights = np.array([1.0, 2.0, 10.0, 11.0])
    mass = np.array([9.0, 1.0, 1.0, 1.0])
    found = clustering.shared(weights, 2, "linear", np.random.default_rng(0), mass)
    assert found.tolist() == [1.1, 1.1, 10.5, 10.5]


@pytest.mark.parametrize("per", ["layer", "channel"])
def test_outputs_change_less_if_weights_count_by_their_inputs(per: Any) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 4, 8))
    model = keras.Model(inputs, layers.Dense(6)(layers.Conv2D(16, 3)(inputs)))
    images = np.random.default_rng(0).normal(size=(64, 4, 4, 8)).astype(np.float32)
    sizes = np.array([0.01, 0.1, 1, 1, 3, 5, 10, 20], np.float32)
    images *= sizes
    kernel = model.layers[1].kernel  # large weights of small inputs, as training makes them
    kernel.assign(np.asarray(kernel) / sizes[:, None])
    before, weights = np.asarray(model(images)), model.get_weights()
    changes = []
    for seen in (None, images):
        model.set_weights(weights)
        clustering.cluster(model, Plan(6, 6, per=per), images=seen)
        changes.append(float(np.mean(np.square(np.asarray(model(images)) - before))))
    alike, weighed = changes
    assert weighed < 0.8 * alike


def test_only_the_ratio_of_what_weights_count_matters() -> None:
    weights, mass = np.random.default_rng(0).normal(size=500), np.linspace(1, 9, 500)
    found = [
        clustering.shared(weights, 6, "linear", np.random.default_rng(0), mass * times)
        for times in (1.0, 1e-4)
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)
