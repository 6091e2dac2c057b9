"""Channels: what is removed together can be removed without a trace if nothing reads it."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from support.applications import shallow
from support.families import slowly

import search_spaces
from pipeline.compress import slimming, surgery
from pipeline.graph import channels, complexity, walk
from pipeline.graph.channels import Channels
from pipeline.graph.kinds import table
from search_spaces.base import Cheapest, build

FAMILIES = (
    *("lenet", "vgg", "alexnet", "nin", "inception"),
    *("resnet", "wide_resnet", "bottleneck", "fractalnet", "densenet", "convnext"),
    *("mobilenet", "mobilenet_v1", "mobilenet_v3", "efficientnet_lite"),
)
RESNET = search_spaces.family("resnet").Arch(width=8, depths=(1, 1), shortcut="pad")


def shaken(model: keras.Model) -> keras.Model:
    """Random weights in every layer, so that none of them is easily left out."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
        elif weight.name in ("beta", "moving_mean", "bias"):
            weight.assign(random.normal(0, 0.3, weight.shape))
    return model


def halved(found: Channels) -> np.ndarray:
    """Copies: every other class of every group is removed."""
    copies = np.ones(found.count, np.int64)
    for group in found.groups:
        copies[group.classes[1::2]] = 0
    return copies


def silenced(found: Channels, copies: np.ndarray) -> None:
    """Make zero what every kernel reads removed channels with."""
    for layer, _, _ in walk.calls(found.model):
        kind = table.of(layer)
        if not kind.width or kind.kernel is None:
            continue
        name = "pointwise_kernel" if hasattr(layer, "pointwise_kernel") else "kernel"
        weight = getattr(layer, name)
        (axis,) = kind.kernel(layer, name).inputs
        kernel = np.moveaxis(np.array(weight), axis, 0)
        kernel[copies[found.reads[id(layer)]][: len(kernel)] == 0] = 0
        weight.assign(np.moveaxis(kernel, 0, axis))


def check_exact(model: keras.Model, tolerance: float = 1e-5) -> Channels:
    """Removing half of the channels, which nothing reads, changes no output, and is counted."""
    found = channels.find(shaken(model))
    copies = halved(found)
    silenced(found, copies)
    narrow = surgery.resized(found, copies)
    images = np.random.default_rng(1).uniform(0, 255, (2, *model.input_shape[1:]))
    before, after = (np.asarray(m(images, training=False)) for m in (model, narrow))
    assert np.ptp(before, axis=-1).min() > 1e-4
    np.testing.assert_allclose(after, before, atol=tolerance)
    macs = complexity.profile(narrow).macs
    assert macs == surgery.Count(found)(copies)
    assert macs < complexity.profile(model).macs
    return found


@slowly(*FAMILIES, argument="family")
def test_channels_that_nothing_reads_go_without_a_trace_in_a_family(family: str) -> None:
    keras.utils.set_random_seed(0)
    arch = search_spaces.family(family).sample(Cheapest())
    check_exact(build(family, arch, (24, 24, 3), 5))


@pytest.mark.parametrize("norm", ["group", "instance"])
def test_groups_that_are_normalized_as_one_go_as_one(norm: str) -> None:
    arch = search_spaces.family("mobilenet").sample(Cheapest())
    style = arch.style.model_copy(update={"norm": norm})
    check_exact(build("mobilenet", arch.model_copy(update={"style": style}), (16, 16, 1), 3))


def test_shortcuts_that_pad_channels_with_zeros_are_followed() -> None:
    check_exact(build("resnet", RESNET, (16, 16, 3), 3))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["MobileNetV2", "ResNet50", "DenseNet121", "EfficientNetB0", "MobileNetV3Small"],
)
def test_channels_that_nothing_reads_go_without_a_trace_in_applications(name: str) -> None:
    keras.utils.set_random_seed(0)
    made = shallow(name, input_shape=(64, 64, 3), classes=10)
    check_exact(made, tolerance=1e-4)


def network(body: Callable[[Any], Any], shape: tuple[int, ...] = (8, 8, 3)) -> keras.Model:
    """A network whose inside is given."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape)
    x = layers.Conv2D(8, 3, name="first")(layers.Rescaling(1 / 128, -1.0)(inputs))
    return keras.Model(inputs, layers.Dense(3, name="logits")(body(x)))


BODIES: dict[str, Callable[[Any], Any]] = {
    "flatten": lambda x: layers.Flatten()(x),
    "reshape": lambda x: layers.Flatten()(layers.Reshape((36, 8))(x)),
    "reshape to a vector": lambda x: layers.Reshape((-1,))(x),
    "gate": lambda x: layers.GlobalMaxPooling2D()(
        layers.Multiply()([x, layers.Dense(8, "sigmoid")(layers.GlobalAveragePooling2D()(x))])
    ),
    "gate of one channel": lambda x: layers.Flatten()(
        layers.Multiply()([x, layers.Conv2D(1, 1, activation="sigmoid")(x)])
    ),
    "depth multiplier": lambda x: layers.Flatten()(
        layers.Conv2D(4, 1)(layers.DepthwiseConv2D(3, depth_multiplier=2)(x))
    ),
    "separable": lambda x: layers.Flatten()(layers.Conv2D(4, 1)(layers.SeparableConv2D(6, 3)(x))),
    "groups": lambda x: layers.Flatten()(layers.Conv2D(8, 3, groups=2)(x)),
    "transposed": lambda x: layers.Flatten()(
        layers.Conv2D(2, 3)(layers.Conv2DTranspose(6, 3, strides=2)(x))
    ),
    "prelu": lambda x: layers.Flatten()(layers.PReLU(shared_axes=[1, 2])(x)),
    "operations": lambda x: layers.Flatten()(keras.ops.relu6(x + 3.0) * x),
    "nested model": lambda x: layers.Flatten()(
        keras.Sequential([layers.Conv2D(6, 3), layers.BatchNormalization()])(x)
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_channels_that_nothing_reads_go_without_a_trace_through(name: str) -> None:
    check_exact(network(BODIES[name]))


def fixed(model: keras.Model) -> dict[str, str]:
    """Why layers cannot lose a channel, by name."""
    rows = slimming.rows(channels.find(model), model)
    return {row["layer"]: row["reason"] for row in rows if row["treatment"] == "skipped"}


def test_a_layer_without_a_rule_keeps_what_it_reads_and_says_so() -> None:
    model = network(lambda x: layers.Flatten()(layers.UnitNormalization()(x)))
    assert "no rule for UnitNormalization" in fixed(model)["first"]


def test_a_layer_that_is_called_twice_keeps_its_channels() -> None:
    shared = layers.Conv2D(8, 3, padding="same", name="shared")
    found = fixed(network(lambda x: layers.Flatten()(shared(shared(x)))))
    assert found["shared"] == "called 2 times"
    assert "called 2 times" in found["first"]


def test_channels_that_are_normalized_together_stay() -> None:
    found = fixed(network(lambda x: layers.Flatten()(layers.LayerNormalization()(x))))
    assert found["first"] == "its channels are normalized together"


def test_the_scores_stay() -> None:
    assert fixed(network(lambda x: layers.Flatten()(x)))["logits"] == "the output of the model"


def test_an_operation_with_an_array_keeps_its_channels() -> None:
    model = network(lambda x: layers.Flatten()(x * np.arange(8, dtype=np.float32)))
    assert "no rule for Multiply" in fixed(model)["first"]
