"""Weights for the channels that are left, or doubled, by hand."""

from typing import Any

import numpy as np
from keras import layers

from pipeline.graph.cut import Cut

READS, WRITES = np.array([0, 1, 2]), np.array([3, 4])


def filled(layer: Any, *shape: int) -> Any:
    """A layer whose weights are 1, 2, 3 ... in order."""
    layer.build((None, *shape))
    counted = [
        np.arange(1, w.size + 1, dtype=np.float32).reshape(w.shape) for w in layer.get_weights()
    ]
    layer.set_weights(counted)
    return layer


def test_the_rows_and_columns_of_removed_channels_go() -> None:
    layer = filled(layers.Dense(2), 3)  # [[1, 2], [3, 4], [5, 6]], [1, 2]
    kernel, bias = Cut(layer, READS, WRITES, np.array([1, 0, 1, 0, 1])).weights()
    assert kernel.tolist() == [[2], [6]]
    assert bias.tolist() == [2]


def test_a_doubled_channel_is_read_with_half_of_the_weights() -> None:
    layer = filled(layers.Dense(2), 3)
    kernel, bias = Cut(layer, READS, WRITES, np.array([2, 1, 1, 1, 2])).weights()
    assert kernel.tolist() == [[0.5, 1, 1], [0.5, 1, 1], [3, 4, 4], [5, 6, 6]]
    assert bias.tolist() == [1, 2, 2]


def test_weights_of_channels_that_all_stay_are_the_same() -> None:
    layer = filled(layers.Dense(2), 3)
    for cut, own in zip(
        Cut(layer, READS, WRITES, np.ones(5, int)).weights(), layer.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(cut, own)


def test_a_transposed_kernel_is_cut_along_its_own_axes() -> None:
    layer = filled(layers.Conv2DTranspose(2, 1, use_bias=False), 4, 4, 3)
    (kernel,) = Cut(layer, READS, WRITES, np.array([0, 1, 1, 0, 1])).weights()
    np.testing.assert_array_equal(kernel[0, 0], [[5, 6]])  # of [[1, 2, 3], [4, 5, 6]]


def test_a_depthwise_kernel_is_cut_along_the_channels_that_it_reads() -> None:
    layer = filled(layers.DepthwiseConv2D(1), 4, 4, 3)
    kernel, bias = Cut(layer, READS, READS, np.array([1, 0, 1])).weights()
    assert kernel.reshape(-1).tolist() == [1, 3]
    assert bias.tolist() == [1, 3]


def test_a_kernel_in_groups_is_cut_along_the_inputs_of_one_group() -> None:
    layer = filled(layers.Conv2D(2, 1, groups=2, use_bias=False), 4, 4, 4)
    reads, writes = np.array([0, 1, 0, 1]), np.array([2, 2])
    (kernel,) = Cut(layer, reads, writes, np.array([0, 1, 1])).weights()
    np.testing.assert_array_equal(kernel[0, 0], [[3, 4]])  # of [[1, 2], [3, 4]]


def test_noise_changes_second_copies_alone() -> None:
    layer = filled(layers.Dense(2), 3)
    part = Cut(layer, READS, WRITES, np.array([1, 1, 1, 1, 2]))
    kernel, _ = part.noisy(0.1, np.random.default_rng(0))
    np.testing.assert_array_equal(kernel[:, :2], [[1, 2], [3, 4], [5, 6]])
    assert np.all(kernel[:, 2] != kernel[:, 1])
    np.testing.assert_allclose(kernel[:, 2], kernel[:, 1], rtol=0.5)


def test_noise_of_a_separable_convolution_is_in_its_pointwise_kernel() -> None:
    layer = filled(layers.SeparableConv2D(2, 1, use_bias=False), 4, 4, 3)
    part = Cut(layer, READS, WRITES, np.array([1, 1, 1, 1, 2]))
    deep, flat = part.noisy(0.1, np.random.default_rng(0))
    assert deep.reshape(-1).tolist() == [1, 2, 3]
    assert flat.shape == (1, 1, 3, 3)
    assert np.all(flat[..., 2] != flat[..., 1])


def test_no_noise_is_drawn_for_a_layer_that_stays_as_it_is() -> None:
    layer, random = filled(layers.Dense(2), 3), np.random.default_rng(0)
    Cut(layer, READS, WRITES, np.ones(5, int)).noisy(0.1, random)
    assert random.random() == np.random.default_rng(0).random()
