"""The contract of an architecture family, and the few blocks that families share.

A family is one module of this package, found by its file name, with

    class Arch(ArchBase)                            the numbers of one network: JSON in, JSON out
    sample(hp: Choices) -> Arch                     chooses; touches no Keras; cheapest value first
    build(arch, input_shape, num_classes) -> Model  constructs; chooses nothing, compiles nothing
"""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeVar

import keras
from pydantic import BaseModel, ConfigDict

from search_spaces import family

layers = keras.layers
Value = TypeVar("Value", int, float, str)

Norm = Literal["batch", "none"]
Init = Literal["he_normal", "he_uniform", "glorot_uniform"]


class Choices(Protocol):
    """What `sample` asks for values; `keras_tuner.HyperParameters` is one such."""

    def Choice(self, name: str, values: Sequence[Value]) -> Value:
        """Pick one of `values`; the first is the cheapest."""
        ...


class ArchBase(BaseModel):
    """Frozen plain data that describes one network, or a part of one."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Cheapest:
    """Choices that always take the first value: the cheapest network of a family.

    >>> Cheapest().Choice("width", [8, 16])
    8
    """

    def Choice(self, name: str, values: Sequence[Value]) -> Value:
        """Return the first of `values`."""
        return values[0]


def build(name: str, arch: Any, input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """Build the untrained network of family `name` from its `Arch`, or from that as JSON data.

    Args:
        input_shape: `(H, W, C)` of the images, pixels 0..255.
        num_classes: Length of the vector of scores.
    """
    module = family(name)
    arch = module.Arch.model_validate(arch)
    return module.build(arch, input_shape, num_classes)


def pixels(input_shape: tuple[int, int, int]) -> tuple[Any, Any]:
    """Input of raw pixels 0..255 `[B, H, W, C]`, and the same scaled to -1..1.

    By 1/128, so that the scaling is exactly an int8 input's scale and zero point.
    """
    inputs = keras.Input(input_shape, name="image")
    return inputs, layers.Rescaling(1 / 128, offset=-1.0, name="rescaling")(inputs)


def scores(x: Any, num_classes: int, init: Init) -> Any:
    """Global average pooling, a dense layer and softmax: `[B, H, W, C]` -> `[B, num_classes]`."""
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(num_classes, kernel_initializer=init, name="logits")(x)
    return layers.Softmax(name="scores")(x)


def conv(
    x: Any,
    filters: int,
    kernel: int,
    strides: int,
    *,
    name: str,
    norm: Norm,
    init: Init,
    activation: Literal["relu", "relu6", None] = None,
    depthwise: bool = False,
) -> Any:
    """Convolution, normalization, activation: `[B, H, W, C]` -> `[B, H/s, W/s, filters]`.

    Padding is "same". `depthwise` convolves each channel by itself and ignores `filters`. The
    bias is left to the normalization where there is one.
    """
    options = {"padding": "same", "use_bias": norm == "none", "name": name}
    if depthwise:
        x = layers.DepthwiseConv2D(kernel, strides, depthwise_initializer=init, **options)(x)
    else:
        x = layers.Conv2D(filters, kernel, strides, kernel_initializer=init, **options)(x)
    if norm == "batch":
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
    if activation:
        ceiling = 6.0 if activation == "relu6" else None
        x = layers.ReLU(ceiling, name=f"{name}_{activation}")(x)
    return x


def round_channels(channels: float, divisor: int = 8) -> int:
    """Round to a multiple of `divisor`, never down by more than 10%.

    Source: Howard et al. 2017, as in the authors' MobileNet code.

    >>> round_channels(32 * 0.35), round_channels(24 * 0.75)
    (16, 24)
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
