"""Structure: what compression left in a kernel is seen, and stays in any later training."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from pipeline.graph import structure
from pipeline.graph.structure import Array, Kept

RNG = np.random.default_rng(0)
SHAPE = (3, 3, 16, 8)


def plain(shape: tuple[int, ...] = SHAPE) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


def pruned() -> Array:
    kernel = plain()
    return np.where(np.abs(kernel) < 0.5, np.float32(-0.0), kernel)


def clustered(count: int = 5, shape: tuple[int, ...] = SHAPE) -> Array:
    return plain((count,))[RNG.integers(count, size=shape)]


def clustered_by_channel(axis: int = -1) -> Array:
    """Five values in each of eight channels, one of them zero."""
    values = plain((8, 5))
    values[:, 0] = 0
    kernel = np.stack([v[RNG.integers(5, size=(3, 3, 16))] for v in values], -1)
    return np.moveaxis(kernel, -1, axis)


KINDS: dict[Kept, Callable[[], Array]] = {
    "zeros": pruned,
    "clusters": clustered,
    "channel_clusters": clustered_by_channel,
}


@pytest.mark.parametrize(("kind", "make"), KINDS.items())
def test_what_compression_left_is_seen(kind: Kept, make: Callable[[], Array]) -> None:
    assert structure.of(make()) == kind


@pytest.mark.parametrize("shape", [SHAPE, (1, 1, 4, 4), (3, 3, 256, 64), (10, 1)])
def test_a_kernel_that_was_only_trained_has_no_structure(shape: tuple[int, ...]) -> None:
    assert structure.of(plain(shape)) is None


def test_the_most_clusters_there_can_be_are_seen() -> None:
    assert structure.of(clustered(256, (64, 64))) == "clusters"


def test_clusters_of_a_transposed_convolution_belong_to_the_channels_that_it_writes() -> None:
    layer = layers.Conv2DTranspose(8, 3)
    axis = structure.channel_axis(layer)
    assert structure.of(clustered_by_channel(axis), axis) == "channel_clusters"


def partition(kernel: Array, kind: Kept) -> list[tuple[bool, ...]]:
    """Which weights equal each other, of a channel if values belong to channels."""
    groups = np.moveaxis(kernel, -1, 0) if kind == "channel_clusters" else [kernel]
    return [tuple((g.reshape(-1, 1) == g.reshape(1, -1)).reshape(-1)) for g in groups]


@pytest.mark.parametrize(("kind", "make"), KINDS.items())
def test_an_update_leaves_what_there_was(kind: Kept, make: Callable[[], Array]) -> None:
    before = make()
    update = plain()
    after = np.asarray(structure.constraint(before, kind)(before + update))
    np.testing.assert_array_equal(after == 0, before == 0)
    assert np.all(after[before != 0] != before[before != 0])
    if kind == "zeros":
        np.testing.assert_array_equal(after[before != 0], (before + update)[before != 0])
    else:
        assert partition(after, kind) == partition(before, kind)


def test_a_cluster_moves_by_the_mean_of_its_updates() -> None:
    before = np.float32([[1, 0], [1, 2], [2, 1]])
    update = np.float32([[0.3, 5], [0.6, 1], [2, 0]])
    after = np.asarray(structure.constraint(before, "clusters")(before + update))
    np.testing.assert_allclose(after, [[1.3, 0], [1.3, 3.5], [3.5, 1.3]], rtol=1e-6)


def test_a_million_equal_weights_do_not_drift() -> None:
    kernel = np.full((1000, 1000), 0.1, np.float32)
    kernel[0] = 0.7
    keep = structure.constraint(kernel, "clusters")
    np.testing.assert_array_equal(np.asarray(keep(kernel)), kernel)


@pytest.mark.parametrize(("kind", "make"), KINDS.items())
def test_variables_of_tensorflow_are_kept_in_a_graph(kind: Kept, make: Callable[[], Array]) -> None:
    before = make()
    keep, variable = structure.constraint(before, kind), tf.Variable(before + 1)
    traced = tf.function(lambda: keep(variable))()
    np.testing.assert_allclose(traced, np.asarray(keep(before + 1)), rtol=1e-5)


# kept


def network(**settings: Any) -> keras.Model:
    """A kernel of each kind, in layers of several kinds."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = layers.SeparableConv2D(8, 3)(inputs)
    x = layers.Reshape((36, 8))(layers.Conv2D(8, 1, name="conv", **settings)(x))
    x = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    x = layers.Dense(2, name="whole")(layers.Flatten()(x))
    model = keras.Model(inputs, x)
    conv, separable = model.get_layer("conv").kernel, model.layers[1].pointwise_kernel
    conv.assign(np.where(np.abs(conv) < 0.1, 0, conv))
    separable.assign(clustered(4, separable.shape))
    query = model.get_layer("attention")._query_dense.kernel
    query.assign(clustered(4, query.shape))
    return model


def trained(model: keras.Model) -> keras.Model:
    model.compile(keras.optimizers.Adam(0.1), "mse", jit_compile=False)
    model.fit(plain((16, 8, 8, 3)), plain((16, 2)), batch_size=8, verbose=0)
    return model


def found(model: keras.Model) -> dict[str, Kept]:
    each = {v.path: structure.of(np.asarray(v)) for _, v in structure.kernels(model)}
    return {path: kind for path, kind in each.items() if kind}


@pytest.mark.slow
def test_all_kernels_with_structure_keep_it_in_training() -> None:
    model = network()
    before = found(model)
    weights = model.get_layer("conv").get_weights()[0]
    with structure.kept(model):
        trained(model)
    assert sorted(before.values()) == ["clusters", "clusters", "zeros"]
    assert found(model) == before
    after = model.get_layer("conv").get_weights()[0]
    np.testing.assert_array_equal(after == 0, weights == 0)
    assert np.all(after[weights != 0] != weights[weights != 0])


@pytest.mark.slow
def test_what_is_trained_afterwards_is_free_again() -> None:
    model = network()
    with structure.kept(model):
        pass
    assert found(trained(model)) == {}


def test_an_error_takes_the_constraints_off() -> None:
    model = network()
    with pytest.raises(KeyboardInterrupt), structure.kept(model):
        raise KeyboardInterrupt
    assert [kernel.constraint for _, kernel in structure.kernels(model)] == [None] * 8


@pytest.mark.slow
def test_the_constraint_that_a_layer_came_with_is_still_applied_and_stays() -> None:
    model = network(kernel_constraint="non_neg")
    kernel = model.get_layer("conv").kernel
    own, zeros = kernel.constraint, np.asarray(kernel) == 0
    with structure.kept(model):
        trained(model)
    assert kernel.constraint is own
    assert np.min(kernel) == 0
    assert np.all(np.asarray(kernel)[zeros] == 0)


def test_a_layer_that_is_called_twice_has_one_kernel() -> None:
    inputs = keras.Input((4,))
    layer = layers.Dense(4)
    inner = keras.Model(inputs, layer(layer(inputs)))
    model = keras.Model(inputs, inner(inner(inputs)))
    assert [owner for owner, _ in structure.kernels(model)] == [layer]


def test_a_network_is_clustered_if_the_channels_of_a_kernel_share_values() -> None:
    keras.utils.set_random_seed(0)
    conv = keras.layers.Conv2D(4, 3)
    model = keras.Sequential([keras.Input((8, 8, 2)), conv])
    assert not structure.clustered(model)
    conv.kernel.assign(np.where(np.abs(conv.kernel) < 0.1, 0.0, conv.kernel))
    assert not structure.clustered(model)
    conv.kernel.assign(np.random.default_rng(1).choice([-0.5, 0.0, 0.25], conv.kernel.shape))
    assert structure.clustered(model)
