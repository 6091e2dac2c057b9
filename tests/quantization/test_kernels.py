"""Kernels: what was folded into them, what shares a step, zeros and clusters, gradients."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from support.simulated import classifier

from pipeline.quantization import kernels, layouts, network
from pipeline.quantization.kernels import Kernel
from pipeline.quantization.network import Network
from pipeline.tflite.read import named_after

LEVELS = (0.25 * np.arange(-3, 4)).astype(np.float32)
CHANNELS = 6
MAKERS: dict[str, Callable[[str], Any]] = {
    "conv": lambda name: layers.Conv2D(6, 3, name=name),
    "grouped": lambda name: layers.Conv2D(6, 3, groups=3, name=name),
    "depthwise": lambda name: layers.DepthwiseConv2D(3, depth_multiplier=2, name=name),
    "transposed": lambda name: layers.Conv2DTranspose(6, 3, 2, name=name),
    "dense": lambda name: layers.Dense(6, name=name),
    "pixel": lambda name: layers.Conv2D(6, 1, name=name),
    "strided": lambda name: layers.Conv2D(6, 1, 2, name=name),
}
Both = tuple[keras.Model, Network]


def branches(x: Any) -> Any:
    """A layer of every kind, alone and with a normalization behind it, all on the image."""
    ends = []
    for kind, make in MAKERS.items():
        y = layers.BatchNormalization(name=f"{kind}_norm")(make(f"{kind}_folded")(x))
        ends += [make(f"{kind}_plain")(x), layers.ReLU()(y)]
    return layers.Add()([layers.GlobalAveragePooling2D()(end) for end in ends])


@pytest.fixture(scope="module")
def both() -> Both:
    model = classifier(branches)
    return model, network.of(model)


@pytest.fixture(scope="module")
def kept() -> Both:
    """As `both`, with clusters in the normalized kernels and zeros in the others."""
    model = classifier(branches)
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if layer.name.endswith("_folded"):
            layer.kernel.assign(rng.choice(LEVELS, layer.kernel.shape))
        elif layer.name.endswith("_plain"):
            layer.kernel.assign(np.where(np.abs(layer.kernel) < 0.1, 0.0, layer.kernel))
    return model, network.of(model)


def kernel_of(both: Both, name: str, weights: Any = "int8") -> Kernel:
    net = both[1]
    (step,) = (
        s for s in net.kernels if name in named_after(f"{s.name};{s.reads[1].name}", net.layers)
    )
    layer = Kernel(step, kernels.folded(step, net), weights, False, name)
    layer.build()
    return layer


def rounded(layer: Kernel) -> tuple[np.ndarray, np.ndarray]:
    numbers, steps = layer.rounded()
    return np.asarray(numbers), np.asarray(steps)


def within(layer: Kernel) -> tuple[int, ...]:
    """Axes of a kernel that are no output channels."""
    channels = layouts.LAYOUTS[layer.step.kind].channels
    return tuple(axis for axis in range(len(layer.kernel.shape)) if axis not in channels)


@pytest.mark.parametrize("kind", MAKERS)
def test_what_a_normalization_multiplies_by_is_found_negative_factors_too(
    both: Both, kind: str
) -> None:
    norm, one = (both[0].get_layer(f"{kind}_{end}") for end in ("norm", "folded"))
    layer = kernel_of(both, f"{kind}_folded")
    gain = norm.gamma.numpy() / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    assert set(np.sign(gain)) == {-1, 1}
    np.testing.assert_allclose(layer.folded.gain.reshape(-1), gain, rtol=1e-4)
    np.testing.assert_array_equal(layer.folded.kernel, one.kernel.numpy())
    bias = norm.beta.numpy() + (one.bias.numpy() - norm.moving_mean.numpy()) * gain
    np.testing.assert_allclose(np.asarray(layer.bias()), bias, atol=1e-5)


# what shares a step


@pytest.mark.parametrize("kind", sorted({*MAKERS} - {"dense"}))
def test_every_channel_has_a_step_of_its_own(both: Both, kind: str) -> None:
    for end in ("plain", "folded"):
        layer = kernel_of(both, f"{kind}_{end}")
        numbers, steps = rounded(layer)
        most = np.max(np.abs(layer.whole()), within(layer))
        np.testing.assert_allclose(steps.reshape(-1), most.reshape(-1) / 127, rtol=1e-5)
        assert np.max(np.abs(numbers), within(layer)).reshape(-1).tolist() == [127] * CHANNELS
        assert np.max(np.abs(numbers * steps - layer.whole())) <= 0.501 * np.max(steps)


@pytest.mark.parametrize("end", ["plain", "folded"])
def test_a_dense_layer_has_one_step(both: Both, end: str) -> None:
    layer = kernel_of(both, f"dense_{end}")
    numbers, steps = rounded(layer)
    assert steps.size == 1
    assert float(steps.squeeze()) == pytest.approx(float(np.max(np.abs(layer.whole()))) / 127)
    assert np.max(np.abs(numbers)) == 127


@pytest.mark.parametrize("kind", ["conv", "dense"])
def test_4_bits_have_15_values_of_every_channel(both: Both, kind: str) -> None:
    numbers, steps = rounded(kernel_of(both, f"{kind}_plain", "int4"))
    assert steps.size == CHANNELS
    assert set(np.unique(numbers)) <= set(range(-7, 8))
    assert np.max(np.abs(numbers)) == 7


@pytest.mark.parametrize("kind", MAKERS)
def test_clusters_become_as_many_numbers(kept: Both, kind: str) -> None:
    """One range for all channels; the factor of a normalization goes into their steps."""
    layer = kernel_of(kept, f"{kind}_folded")
    numbers, steps = rounded(layer)
    assert layer.scope == "shared"
    assert steps.size == CHANNELS
    assert set(np.unique(np.abs(numbers))) <= {0, 42, 85, 127}  # 0, 1/3, 2/3 and 1 of 127
    assert np.max(np.abs(numbers * steps - layer.whole())) <= 0.501 * np.max(steps)


# training


def descended(layer: Kernel) -> np.ndarray:
    """The numbers after some steps that move every weight another way."""
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(layer.trainable_variables)
    rng = np.random.default_rng(3)
    for _ in range(3):
        moves = [rng.normal(size=v.shape).astype(np.float32) for v in layer.trainable_variables]
        optimizer.apply_gradients(
            [(tf.constant(m), v) for m, v in zip(moves, layer.trainable_variables, strict=True)]
        )
    return rounded(layer)[0]


@pytest.mark.parametrize("kind", MAKERS)
def test_zeros_stay_zeros_in_the_file(kept: Both, kind: str) -> None:
    layer = kernel_of(kept, f"{kind}_plain")
    before = layer.kernel.numpy()
    assert 0.05 < np.mean(before == 0) < 0.95
    numbers = descended(layer)
    assert np.max(np.abs(layer.kernel.numpy() - before)) > 0.01
    assert np.all(numbers[before == 0] == 0)
    assert np.mean(numbers[before != 0] == 0) < 0.2


@pytest.mark.parametrize("kind", MAKERS)
def test_weights_of_a_cluster_stay_together_in_the_file(kept: Both, kind: str) -> None:
    layer = kernel_of(kept, f"{kind}_folded")
    before = layer.kernel.numpy()
    numbers = np.abs(descended(layer))  # a negative factor turns the sign of a whole channel
    assert np.max(np.abs(layer.kernel.numpy() - before)) > 0.001
    for level in np.unique(before):
        assert len(np.unique(numbers[before == level])) == 1


def test_gradients_pass_the_rounding_unchanged(both: Both) -> None:
    """The loss is linear in the kernel, so its gradient is that without rounding."""
    layer = kernel_of(both, "dense_plain")
    image = tf.random.normal((4, 12, 10, 3), seed=1)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(image, tf.constant(0.01)))
    kernel, bias = tape.gradient(total, [layer.kernel.value, layer.shift.value])
    each = tf.reduce_sum(image, axis=(0, 1, 2))
    np.testing.assert_allclose(kernel, np.tile(each[:, None], (1, 6)), rtol=1e-4)
    np.testing.assert_allclose(bias, [4 * 12 * 10] * 6)


def test_the_bias_is_rounded_to_the_product_of_both_steps(both: Both) -> None:
    layer = kernel_of(both, "dense_plain")
    into = 0.5
    made = np.asarray(layer(tf.zeros((1, 12, 10, 3)), tf.constant(into)))[0, 0, 0]
    fine = into * float(rounded(layer)[1].squeeze())
    np.testing.assert_allclose(made / fine, np.round(layer.shift.numpy() / fine), atol=1e-3)


def test_a_kernel_of_zeros_has_a_step_all_the_same(both: Both) -> None:
    layer = kernel_of(both, "conv_plain")
    layer.kernel.assign(np.zeros(layer.kernel.shape))
    numbers, steps = rounded(layer)
    assert np.all(numbers == 0)
    assert np.all(steps > 0)
