"""The file has the numbers that were trained, in operators of the versions that runtimes know."""

from typing import Any

import numpy as np
import pytest
from keras import layers, ops
from support.simulated import Made, classifier, noise, quantized, simulated

from pipeline import targets
from pipeline.quantization import int8_file
from pipeline.quantization.job import Form
from pipeline.tflite import convert
from pipeline.tflite.classifier import Runner
from pipeline.tflite.read import read

# What TensorFlow 2.20 writes of an operator when it quantizes after training; only versions that a
# runtime knows are run. In groups, with more than two dimensions kept, and with an activation
# inside, operators have later versions.
VERSIONS: dict[str, set[int]] = {
    "ADD": {2}, "AVERAGE_POOL_2D": {2}, "BATCH_MATMUL": {2}, "CONCATENATION": {2},
    "CONV_2D": {3, 6}, "DEPTHWISE_CONV_2D": {3}, "FULLY_CONNECTED": {4, 5}, "HARD_SWISH": {1},
    "LOGISTIC": {2}, "MAXIMUM": {2}, "MAX_POOL_2D": {2}, "MEAN": {2}, "MINIMUM": {2},
    "MIRROR_PAD": {2}, "MUL": {2}, "PAD": {2}, "PADV2": {2}, "QUANTIZE": {1}, "REDUCE_MAX": {2},
    "REDUCE_MIN": {2}, "RESHAPE": {1}, "RESIZE_BILINEAR": {3}, "RESIZE_NEAREST_NEIGHBOR": {3},
    "SOFTMAX": {2}, "STRIDED_SLICE": {2}, "SUB": {2}, "SUM": {2}, "TANH": {2}, "TILE": {3},
    "TRANSPOSE": {2}, "TRANSPOSE_CONV": {3, 4},
}  # fmt: skip


def conv(filters: int = 4, **settings: Any) -> Any:
    return layers.Conv2D(filters, 3, **{"padding": "same", **settings})


def many(x: Any) -> Any:
    """Operators of many kinds, each in its simplest version."""
    x = layers.MaxPooling2D(2, 1, padding="same")(conv()(x))
    x = layers.AveragePooling2D(2, 1, padding="same")(layers.DepthwiseConv2D(3)(x))
    x = layers.Concatenate()([x, layers.Activation("sigmoid")(x), layers.Activation("tanh")(x)])
    x = layers.Multiply()([x, layers.Activation("hard_silu")(conv(12)(x))])
    x = layers.UpSampling2D(2)(layers.ZeroPadding2D()(conv()(x)))
    x = layers.Conv2DTranspose(4, 3, 2)(x)
    return layers.Permute((2, 1, 3))(layers.Cropping2D(1)(x))


def more(x: Any) -> Any:
    """The later versions, and other kinds."""
    x = layers.Conv2DTranspose(4, 3, 2, activation="relu")(conv(groups=2)(conv()(x)))
    x = layers.Dense(4)(layers.Resizing(6, 7)(x))
    x = layers.Resizing(7, 6, interpolation="nearest")(layers.Subtract()([x, conv()(x)]))
    x = layers.Minimum()([conv()(x), layers.Maximum()([x, conv()(x)])])
    x = ops.concatenate([f(x, axis=-1, keepdims=True) for f in (ops.max, ops.min, ops.sum)])
    sides = [[0, 0], [1, 1], [1, 1], [0, 0]]
    return conv()(ops.pad(ops.pad(x, sides, "reflect"), sides, constant_values=1.0))


def versions(content: bytes) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for op in read(content).operators:
        found.setdefault(op.name, set()).add(op.version)
    return found


@pytest.fixture(scope="module")
def made() -> Made:
    return quantized(many)


def test_operators_have_the_versions_that_tensorflow_gives_them(made: Made) -> None:
    found = versions(made.content)
    assert len(found) > 15
    assert {kind: VERSIONS[kind] & one for kind, one in found.items()} == found
    assert found["CONV_2D"] == {3}
    assert found["TRANSPOSE_CONV"] == {3}


@pytest.mark.slow
@pytest.mark.parametrize("body", [many, more], ids=["many", "more"])
def test_the_versions_are_those_of_a_file_that_tensorflow_quantizes(body: Any) -> None:
    """It writes the latest version that one operator of a kind needs for all of that kind."""
    model = classifier(body)
    theirs = versions(convert.ptq(model, noise()))
    ours = versions(int8_file.write_int8(simulated(model)))
    both = set(theirs) & set(ours)
    assert len(both) > 10
    assert {kind: max(ours[kind]) for kind in both} == {kind: max(theirs[kind]) for kind in both}


def test_the_file_has_the_trained_weights_rounded(made: Made) -> None:
    kernels = [made.simulation.kernels[id(s)] for s in made.simulation.network.kernels]
    stored = made.graph.kernels
    assert len(kernels) == len(stored) == 6
    for layer, kernel in zip(kernels, stored, strict=True):
        assert kernel.data is not None
        sides = [1] * kernel.data.ndim
        sides[kernel.axis] = -1
        values = kernel.data * kernel.scales.reshape(sides)
        trained = np.sort(np.asarray(layer.whole()).reshape(-1))
        assert np.max(np.abs(np.sort(values.reshape(-1)) - trained)) <= np.max(kernel.scales)
        assert kernel.zero_points.tolist() == [0] * len(kernel.scales)
        assert np.min(kernel.data) >= -127


def test_biases_have_the_product_of_the_steps_of_image_and_kernel(made: Made) -> None:
    for op in made.graph.operators:
        if op.kernel is None:
            continue
        image, kernel, bias = op.inputs[-3:] if op.name != "TRANSPOSE_CONV" else (
            op.inputs[2], op.inputs[1], op.inputs[3]
        )  # fmt: skip
        assert bias.dtype == "INT32"
        np.testing.assert_allclose(bias.scales, image.scales * kernel.scales, rtol=1e-6)


def test_the_same_simulation_makes_the_same_bytes(made: Made) -> None:
    assert int8_file.write_int8(made.simulation) == made.content


def test_ends_of_int8_compute_the_same(made: Made) -> None:
    signed = Runner(int8_file.write_int8(made.simulation, "int8"))
    assert [t.dtype for t in (*signed.graph.inputs, *signed.graph.outputs)] == ["INT8", "INT8"]
    np.testing.assert_array_equal(signed.scores(made.images), made.received)


def test_a_channel_of_tiny_weights_has_a_step_that_integers_can_have() -> None:
    """`s_x s_w / s_y` is a fraction of 31 bits, and a bias a number of 32."""

    def change(x: Any) -> Any:
        layer = conv(name="one")
        x = layer(x)
        layer.kernel.assign(np.asarray(layer.kernel) * [1e-30, 1.0, 0.0, 1e-9])
        return x

    made = quantized(change)
    assert made.steps <= 1.05
    step = made.graph.operators[1]
    assert np.max(np.abs(step.inputs[2].data)) <= 2**30
    assert np.min(step.inputs[1].scales * step.inputs[0].scales / step.outputs[0].scales) > 2**-31


def test_the_ends_have_the_names_of_every_file_of_the_project(made: Made) -> None:
    assert [t.name for t in (*made.graph.inputs, *made.graph.outputs)] == ["image", "scores"]
    assert made.graph.inputs[0].shape == (1, 12, 10, 3)


@pytest.mark.parametrize("channels", [12, 14, 15])
@pytest.mark.parametrize(("weights", "bits"), [("int4", 4), ("ternary", 2)])
@pytest.mark.parametrize("reach", ["fast", "all"])
def test_fewer_bits_are_given_to_what_phones_run_fast(
    channels: int, weights: Any, bits: int, reach: Any
) -> None:
    is_fast = channels * bits % 8 == 0  # the weights of an output fill whole bytes
    made = quantized(conv(channels), Form(weights, reach=reach))
    kernel = made.simulation.model.get_layer("logits")
    assert (kernel.form == weights) == (is_fast or reach == "all")
    (placed,) = (
        op.reason
        for op in targets.check("mobile_cpu", made.content).operators
        if op.name == "FULLY_CONNECTED"
    )
    assert (placed is None) == (is_fast or reach == "fast")
