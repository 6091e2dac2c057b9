"""The Edge TPU's verdict on networks that anybody can build, as predicted without its compiler."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from support.applications import shallow
from support.families import Styled

import search_spaces
from pipeline import targets
from pipeline.system import quiet
from pipeline.targets import Verdict
from pipeline.tflite import convert
from search_spaces import base, blocks, published

SHAPE = (64, 64, 3)
BEHIND = "comes after {} on the CPU; there is one piece for the TPU"

Convert = Callable[..., Verdict]


@pytest.fixture(autouse=True)
def _no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def verdict() -> Convert:
    """The verdict on a Keras model, converted as for the Edge TPU if not said otherwise."""
    keras.backend.clear_session()  # the converter orders operators by names, which Keras counts

    def asked(model: keras.Model, **options: Any) -> Verdict:
        how = {"io": "int8", "per_channel_dense": False} | options
        return targets.check("edgetpu", converted(model, **how))

    return asked


def converted(model: keras.Model, io: str, per_channel_dense: bool) -> bytes:
    """Convert as `convert.convert_int8` does, in a third of the time: without files."""
    module, function = convert._serving(model)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    converter.experimental_lower_to_saved_model = False
    converter._experimental_disable_per_channel_quantization_for_dense_layers = (
        not per_channel_dense
    )
    return convert._int8(converter, images(model, 2), io)


def images(model: keras.Model, count: int) -> np.ndarray:
    shape = (count, *model.inputs[0].shape[1:])
    return np.random.default_rng(0).integers(0, 256, shape).astype("float32")


def with_float_islands(model: keras.Model, place: Path) -> bytes:
    """Convert what `litert.convert_int8` refuses: some operators stay in floating point."""
    convert.save_float(model, place)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(place))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in images(model, 2))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    with quiet.muted():
        return bytes(converter.convert())


def between(middle: Callable[[Any], Any]) -> keras.Model:
    """Two convolutions and something between them."""
    inputs = keras.Input((16, 16, 8))
    x = middle(layers.Conv2D(8, 3)(inputs))
    return keras.Model(inputs, layers.Conv2D(4, 3)(x))


def reasons(verdict: Verdict) -> list[tuple[str, str | None]]:
    return [(op.name, op.reason) for op in verdict.operators]


def built(name: str) -> keras.Model:
    family, network = published.find(name)
    return base.build(family, network.arch, SHAPE, network.num_classes)


NETWORKS: dict[str, tuple[Callable[[], keras.Model], int]] = {  # and how many operators
    "MobileNet": (lambda: keras.applications.MobileNet(input_shape=SHAPE, weights=None), 31),
    "EfficientNet-Lite0": (lambda: built("efficientnet_lite0"), 63),
    "EfficientNetB0": (lambda: shallow("EfficientNetB0", input_shape=SHAPE), 149),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_published_network_is_mapped_as_a_whole(name: str, verdict: Convert) -> None:
    build, count = NETWORKS[name]
    found = verdict(build())
    assert found.runs
    assert found.mapped == len(found.operators) == count
    assert {op.placement for op in found.operators} == {"tpu"}
    assert found.extras["by"] == "prediction"
    assert found.extras["streamed_bytes"] == 0
    assert all("untrained" in warning for warning in found.extras["warnings"])


@pytest.mark.slow
def test_of_mobilenet_v3_only_what_comes_before_the_first_hard_swish_is_mapped(
    verdict: Convert,
) -> None:
    found = verdict(keras.applications.MobileNetV3Small(input_shape=SHAPE, weights=None))
    names = [op.name for op in found.operators]
    first = names.index("HARD_SWISH")
    assert len(names) == 111
    assert [op.index for op in found.operators if op.reason is None] == list(range(first))
    assert names[:first] == ["MUL", "ADD", "CONV_2D"]  # scaling of pixels, the stem


def test_a_network_of_grouped_convolutions_is_refused(verdict: Convert) -> None:
    family, network = published.find("resnext50_32x4d")
    shallow = network.arch.model_copy(update={"depths": (1, 1)})
    found = verdict(base.build(family, shallow, SHAPE, 10))
    assert not found.runs
    assert "grouped convolution" in str(found.refused)
    assert found.mapped == 0


@pytest.mark.slow
def test_parameters_beyond_the_memory_of_the_chip_are_streamed(verdict: Convert) -> None:
    inputs = keras.Input((1, 1, 64))
    found = verdict(keras.Model(inputs, layers.Conv2D(4096, 1)(layers.Conv2D(2048, 1)(inputs))))
    weights, biases = 64 * 2048 + 2048 * 4096, 4 * (2048 + 4096)
    assert found.extras["parameter_bytes"] == weights + biases
    assert found.extras["streamed_bytes"] == weights + biases - int(7.9 * 2**20) > 0
    assert "do not fit on the chip" in found.extras["warnings"][0]


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["group", "layer", "instance"])
def test_of_normalization_by_image_only_what_comes_before_it_is_mapped(
    norm: base.Norm, tmp_path: Path
) -> None:
    model = between(lambda x: base.normalize(x, norm, "norm"))
    found = targets.check("edgetpu", with_float_islands(model, tmp_path))
    assert found.runs
    before, after = [op for op in found.operators if op.name == "CONV_2D"]
    assert (found.mapped, before.placement) == (1, "tpu")
    assert after.reason == BEHIND.format("RESHAPE 2")
    assert ("NEG", "computes in floating point") in reasons(found)


def test_what_comes_after_an_operator_on_the_cpu_runs_there_too(verdict: Convert) -> None:
    assert reasons(verdict(between(layers.Activation("hard_swish")))) == [
        ("CONV_2D", None),
        ("HARD_SWISH", "is not supported"),
        ("CONV_2D", BEHIND.format("HARD_SWISH 1")),
    ]


def test_a_branch_beside_an_operator_on_the_cpu_is_mapped(verdict: Convert) -> None:
    inputs = keras.Input((8, 8, 4))
    spoilt = layers.Activation("hard_swish")(layers.Conv2D(4, 3)(inputs))
    beside = layers.Conv2D(4, 3, activation="relu")(inputs)
    found = verdict(keras.Model(inputs, layers.Add()([spoilt, beside])))
    assert [(op.name, op.placement) for op in found.operators if op.name != "ADD"] == [
        ("CONV_2D", "tpu"),
        ("HARD_SWISH", "cpu"),
        ("CONV_2D", "tpu"),
    ]
    assert found.operators[-1].reason == BEHIND.format("HARD_SWISH 1")


def test_operators_on_the_cpu_before_the_first_that_is_mapped_spoil_nothing(tmp_path: Path) -> None:
    content = with_float_islands(between(layers.ReLU()), tmp_path)  # floats in and out
    assert reasons(targets.check("edgetpu", content)) == [
        ("QUANTIZE", "computes in floating point"),
        ("CONV_2D", None),
        ("CONV_2D", None),
        ("DEQUANTIZE", "computes in floating point"),
    ]


def test_uint8_at_the_ends_is_mapped(verdict: Convert) -> None:
    found = verdict(between(layers.ReLU()), io="uint8")
    assert reasons(found) == [(n, None) for n in ("QUANTIZE", "CONV_2D", "CONV_2D", "QUANTIZE")]


@pytest.mark.slow
def test_dense_layers_quantized_per_channel_are_refused(verdict: Convert) -> None:
    inputs = keras.Input((8,))
    model = keras.Model(inputs, layers.Dense(4)(inputs))
    assert "quantized per channel" in str(verdict(model, per_channel_dense=True).refused)
    assert verdict(model).runs


def test_a_float_file_is_refused() -> None:
    found = targets.check("edgetpu", convert.convert_float(between(layers.ReLU())))
    assert "not quantized" in str(found.refused)
    assert {op.placement for op in found.operators} == {"cpu"}


@pytest.mark.slow
@pytest.mark.parametrize("name", search_spaces.families())
def test_what_the_search_samples_for_the_edge_tpu_is_mapped_as_a_whole(
    name: str, verdict: Convert
) -> None:
    if reason := base.undeployable(name, ["edgetpu"]):
        assert reason.startswith("edgetpu: ")
        return
    for choices in (base.Cheapest(), Styled(0)):
        arch = search_spaces.family(name).sample(base.Deployable(choices, name, ["edgetpu"]))
        found = verdict(base.build(name, arch, (32, 32, 3), 10))
        left = [row for row in reasons(found) if row[1] is not None]
        assert (found.refused, left) == (None, []), arch


@pytest.mark.parametrize("kind", base.UNDEPLOYABLE["edgetpu"]["activation"])
def test_an_activation_that_is_not_sampled_would_not_be_mapped(
    kind: base.Activation, verdict: Convert
) -> None:
    found = verdict(between(lambda x: base.activation(x, kind, "activation")))
    assert found.mapped < len(found.operators)


@pytest.mark.slow
def test_squeeze_and_excite_is_mapped(verdict: Convert) -> None:
    for gate in ("sigmoid", "hard_sigmoid"):
        excite = between(lambda x, gate=gate: blocks.squeeze_excite(x, 4, "se", gate, "he_normal"))
        found = verdict(excite)
        assert found.mapped == len(found.operators) > 5
