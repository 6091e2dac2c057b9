"""Kernels: which ones are pruned, why the others are not, and their weights as matrices."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from support.kernels import names, network

from pipeline.compress import kernels, patterns
from pipeline.compress.patterns import Pattern
from pipeline.errors import ModelError


def test_depthwise_kernels_and_the_first_convolution_stay_whole() -> None:
    found = kernels.find(network())
    assert names(found) == ["conv", "separable/pointwise_kernel", "dense"]
    skipped = {kernel.name: kernel.reason for kernel in found if kernel.reason}
    assert set(skipped) == {"stem", "depthwise", "separable/depthwise_kernel"}
    assert "first_layer" in str(skipped["stem"])
    assert "depthwise" in str(skipped["depthwise"])


def test_they_are_pruned_if_asked_for() -> None:
    found = kernels.find(network(), first_layer=True, depthwise=True)
    assert len(names(found)) == len(found) == 6


def test_a_first_dense_layer_is_pruned() -> None:
    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, layers.Dense(5, name="first")(layers.Flatten()(inputs)))
    assert names(kernels.find(model)) == ["first"]


def test_the_first_convolution_may_be_within_another_model() -> None:
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(2, 3, name="second")(layers.Conv2D(2, 3, name="image")(inputs))
    outer = keras.Input((8, 8, 1))
    x = keras.Model(inputs, x)(layers.Rescaling(2.0)(outer))
    assert set(names(kernels.find(keras.Model(outer, layers.Dense(2, name="last")(x))))) == {
        "second",
        "last",
    }


def test_a_layer_can_be_exempt() -> None:
    found = kernels.find(network(), exempt={"dense", "separable"})
    assert names(found) == ["conv"]


def test_two_of_four_leaves_out_what_has_other_numbers_of_inputs() -> None:
    inputs = keras.Input((6,))
    x = layers.Dense(8, name="six")(inputs)
    model = keras.Model(inputs, layers.Dense(3, name="eight")(x))
    found = kernels.find(model, Pattern.read("2:4"))
    assert names(found) == ["eight"]
    assert "6 inputs" in str(found[0].reason)


def test_a_model_with_nothing_to_prune_is_refused() -> None:
    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, layers.Conv2D(2, 3, name="only")(inputs))
    with pytest.raises(ModelError, match=r"Received: only: the first convolution"):
        kernels.find(model)


def test_the_parts_of_attention_are_kernels_with_names_of_their_own() -> None:
    inputs = keras.Input((5, 8))
    x = layers.MultiHeadAttention(2, 4, name="one")(inputs, inputs)
    model = keras.Model(inputs, layers.MultiHeadAttention(2, 4, name="two")(x, x))
    found = kernels.find(model)
    assert len({kernel.name for kernel in found}) == len(names(found)) == 8


@pytest.mark.parametrize(
    ("layer", "shape", "matrix"),
    [
        (layers.Dense(5), (3,), (5, 1, 3)),
        (layers.Conv1D(5, 2), (9, 3), (5, 2, 3)),
        (layers.Conv2D(6, (2, 4)), (9, 9, 3), (6, 8, 3)),
        (layers.Conv2D(6, 2, groups=3), (9, 9, 3), (6, 4, 1)),
        (layers.Conv2DTranspose(5, 2), (9, 9, 3), (5, 4, 3)),
        (layers.DepthwiseConv2D(2, depth_multiplier=2), (9, 9, 3), (6, 4, 1)),
        (layers.EinsumDense("abc,cde->abde", (None, 4, 5)), (2, 3), (20, 1, 3)),
        (layers.EinsumDense("abcd,cde->abe", (None, 6)), (2, 4, 3), (6, 1, 12)),
        (layers.EinsumDense("...x,xy->...y", 5), (2, 3), (5, 1, 3)),
    ],
)
def test_a_kernel_is_a_matrix_of_outputs_positions_and_inputs(
    layer: Any, shape: tuple[int, ...], matrix: tuple[int, ...]
) -> None:
    inputs = keras.Input(shape)
    (kernel,) = kernels.find(keras.Model(inputs, layer(inputs)), first_layer=True, depthwise=True)
    assert kernel.matrix.shape == matrix
    stay = np.abs(kernel.matrix) > 0.1
    assert np.array_equal(kernel.shaped(stay), np.abs(np.asarray(layer.kernel)) > 0.1)


def test_an_output_of_the_matrix_is_one_of_the_layer() -> None:
    inputs = keras.Input((4, 4, 2))
    layer = layers.Conv2DTranspose(3, 2, use_bias=False)
    model = keras.Model(inputs, layer(inputs))
    (kernel,) = kernels.find(model, first_layer=True)
    stay = np.ones((3, 4, 2), bool)
    stay[1] = False
    kernel.keep(stay)
    made = np.asarray(model(np.ones((1, 4, 4, 2))))
    assert np.all(made[..., 1] == 0)
    assert np.all(made[..., [0, 2]] != 0)


def test_weights_of_inputs_that_are_always_zero_go_first() -> None:
    inputs = keras.Input((4, 4, 2))
    dense = layers.Dense(3, name="dense")
    x = layers.Conv2D(3, 1, use_bias=False, name="conv")(inputs)
    model = keras.Model(inputs, dense(layers.Flatten()(x)))
    images = np.random.default_rng(0).uniform(1, 2, (40, 4, 4, 2)).astype(np.float32)
    images[:, 0, :, :] = 0
    found = kernels.weighed(kernels.find(model, first_layer=True), model, images)
    conv, last = found
    sizes = np.sqrt(np.mean(np.square(images), axis=(0, 1, 2)))
    np.testing.assert_allclose(conv.inputs, sizes, rtol=1e-5)
    np.testing.assert_allclose(conv.importance, np.abs(conv.matrix) * sizes, rtol=1e-5)
    stay = patterns.mask(last.importance, 0.25)
    assert not stay[:, :, :12].any()
    assert stay[:, :, 12:].all()


def test_depthwise_kernels_are_counted_by_their_weights_alone() -> None:
    inputs = keras.Input((4, 4, 2))
    x = layers.Conv2D(4, 1, name="conv")(layers.DepthwiseConv2D(3, name="depthwise")(inputs))
    found = kernels.find(keras.Model(inputs, x), first_layer=True, depthwise=True)
    images = np.ones((3, 4, 4, 2), np.float32)
    depthwise, conv = kernels.weighed(found, keras.Model(inputs, x), images)
    assert depthwise.inputs is None
    assert conv.inputs.shape == (2,)
