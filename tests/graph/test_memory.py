"""Memory of activations: counted by hand, and as in the file that the converter writes."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import search_spaces
from pipeline.graph import complexity
from pipeline.tflite import convert
from pipeline.tflite.read import read
from search_spaces.base import ArchBase, Cheapest, Deployable, build

SHAPE = (8, 8, 2)  # 128 bytes
FAMILIES = ("mobilenet", "mobilenet_v1", "resnet", "vgg", "densenet", "inception")


class Middle:
    def Choice(self, name: str, values: Any) -> Any:
        return values[len(values) // 2]


def in_file(model: keras.Model) -> int:
    """The peak of the file that the converter writes."""
    shape = (2, *model.inputs[0].shape[1:])
    images = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    return read(convert.ptq(model, images)).peak_memory_bytes


def vary(model: keras.Model) -> None:
    """Give weights values that no optimization can leave out."""
    rng = np.random.default_rng(0)
    model.set_weights([w + rng.uniform(0.05, 0.1, w.shape) for w in model.get_weights()])


def conv(filters: int = 4, kernel: int = 3, **options: Any) -> layers.Layer:
    return layers.Conv2D(filters, kernel, **{"padding": "same", **options})


def head(x: Any) -> Any:
    return layers.Dense(3, name="z_dense")(layers.GlobalAveragePooling2D(name="z_pool")(x))


def normalized(x: Any) -> Any:
    return layers.ReLU()(layers.BatchNormalization()(conv(use_bias=False)(x)))


def normalized_first(x: Any) -> Any:
    return conv()(layers.ReLU()(layers.BatchNormalization()(conv()(x))))


def normalized_for_two(x: Any) -> Any:
    a = conv(name="a")(x)
    b = layers.BatchNormalization(name="b")(a)
    return layers.Add(name="c")([a, b])


def dropped(x: Any) -> Any:
    return conv()(layers.Dropout(0.5)(conv()(x)))


def swish(x: Any) -> Any:
    return layers.Activation("swish")(conv()(x))


def padded_as_same(x: Any) -> Any:
    return conv(padding="valid")(layers.ZeroPadding2D(1)(x))


def padded_otherwise(x: Any) -> Any:
    return conv(padding="valid", strides=2)(layers.ZeroPadding2D(1)(x))


def shortcut(x: Any) -> Any:
    a = conv(name="a")(x)
    return layers.Add(name="d")([conv(8, name="c")(conv(24, name="b")(a)), conv(8, name="e")(a)])


def shortcut_first(x: Any) -> Any:
    """`shortcut`, but the name of the short branch puts it before the long one."""
    a = conv(name="a")(x)
    return layers.Add(name="d")([conv(8, name="c")(conv(24, name="b2")(a)), conv(8, name="b1")(a)])


def averaged(x: Any) -> Any:
    return layers.Average(name="d")([conv(name="a")(x), conv(name="b")(x), conv(name="c")(x)])


BODIES: dict[str, tuple[Callable[[Any], Any], int]] = {
    # a convolution reads 128 and writes 256
    "chain": (lambda x: conv(1)(conv()(x)), 128 + 256),
    "normalized": (normalized, 128 + 256),  # one operator
    "normalized first": (normalized_first, 256 + 256),  # its multiplication reads and writes 256
    "normalized for two": (normalized_for_two, 3 * 256),  # a, its product and the product's sum
    "dropped": (dropped, 256 + 256),
    "swish": (swish, 3 * 256),  # x, its sigmoid, their product
    "padded as same": (padded_as_same, 128 + 256),
    "padded otherwise": (padded_otherwise, 128 + 10 * 10 * 2),
    "shortcut": (shortcut, 256 + 1536 + 512),  # a, b and c
    "shortcut first": (shortcut_first, 512 + 1536 + 512),  # b1, b2 and c
    "averaged": (averaged, 128 + 3 * 256),  # a + b comes before c
    "flattened": (lambda x: layers.Flatten()(conv()(x)), 256 + 256),
}


@pytest.mark.parametrize("case", BODIES)
def test_the_peak_is_that_counted_by_hand_and_that_of_the_file(case: str) -> None:
    body, peak = BODIES[case]
    inputs = keras.Input(SHAPE)
    x = body(inputs)
    model = keras.Model(inputs, layers.Dense(3)(x) if len(x.shape) == 2 else head(x))
    vary(model)
    assert complexity.profile(model).peak_memory_bytes == peak
    assert in_file(model) == peak


def agrees(name: str, arch: ArchBase, shape: tuple[int, int, int]) -> None:
    model = build(name, arch, shape, 10)
    vary(model)
    counted = complexity.count(name, arch, shape, 10).peak_memory_bytes
    assert counted == complexity.profile(model).peak_memory_bytes == in_file(model), arch


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_counting_shapes_gives_exactly_the_peak_of_the_file(name: str) -> None:
    agrees(name, search_spaces.family(name).sample(Cheapest()), (28, 28, 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("choices", "shape"),
    [(Cheapest(), (16, 16, 1)), (Middle(), (33, 45, 3))],
    ids=["cheapest", "middle"],
)
@pytest.mark.parametrize("name", [n for n in search_spaces.families() if n != "vit"])
def test_counting_any_family_gives_exactly_the_peak_of_the_file(
    name: str, choices: Any, shape: tuple[int, int, int]
) -> None:
    arch = search_spaces.family(name).sample(Deployable(choices, name, ["mobile_cpu"]))
    agrees(name, arch, shape)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("choice", "value"),
    [
        ("norm", "none"),
        *(("activation", kind) for kind in ("hard_swish", "swish", "gelu", "tanh", "sigmoid")),
    ],
)
def test_counting_any_style_gives_exactly_the_peak_of_the_file(choice: str, value: str) -> None:
    for name in ("resnet", "wide_resnet"):
        arch: Any = search_spaces.family(name).sample(Cheapest())
        style = arch.style.model_copy(update={choice: value})
        agrees(name, arch.model_copy(update={"style": style}), (28, 28, 1))


def test_the_memory_of_a_network_is_counted_in_a_fraction_of_its_float_activations() -> None:
    arch = search_spaces.family("resnet").sample(Cheapest())
    profile = complexity.count("resnet", arch, (28, 28, 1), 10)
    assert profile.peak_memory_bytes < 4 * profile.peak_activations
