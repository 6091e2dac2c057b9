"""The contract of an architecture family, and the layers that all families build with.

A family is one module of this package, found by its file name, with

    class Arch(ArchBase)                            the numbers of one network: JSON in, JSON out
    sample(hp: Choices) -> Arch                     chooses; touches no Keras; cheapest value first
    build(arch, input_shape, num_classes) -> Model  constructs; chooses nothing, compiles nothing
    NETWORKS: dict[str, Network]                    the published networks of the family, by name
    UNDEPLOYABLE: dict[str, str]                    target -> why none of them runs there

`UNDEPLOYABLE` here lists the values of shared choices that a target cannot run; a family lists
those of its own in `UNDEPLOYABLE_CHOICES`, in the same form. `SETTINGS` are training settings that
the networks of a family need, whatever the search chooses.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypedDict, TypeVar, Unpack

import keras
from pydantic import BaseModel, ConfigDict

from pipeline.errors import ModelError, RecipeError
from search_spaces import family, tracing
from search_spaces import layers as own_layers
from search_spaces.choices import Activation, Init, Norm

Value = TypeVar("Value", int, float, str, bool)
Shape = tuple[int, int, int]

GAUSSIAN_STD = 0.01
GROUPS = 8  # of group normalization, where the channels divide by it

# Values of shared choices that a target refuses or leaves in floating point.
UNDEPLOYABLE: dict[str, dict[str, tuple[Any, ...]]] = {
    "mobile_cpu": {"norm": ("local_response",)},  # its power stays in floating point
    "edgetpu": {
        "norm": ("layer", "instance", "group", "local_response"),
        "activation": ("hard_swish", "gelu"),
    },
    "ethos_u": {"norm": ("layer", "instance", "group", "local_response")},  # floats, for the CPU
}


class _Layers:
    """`keras.layers` with our own; their stand-ins while shapes are traced."""

    def __getattr__(self, kind: str) -> Any:
        if trace := tracing.current():
            return getattr(trace, kind)
        return getattr(own_layers, kind, None) or getattr(keras.layers, kind)


layers = _Layers()


class ArchBase(BaseModel):
    """Frozen plain data that describes one network, or a part of one."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Style(ArchBase):
    """Choices that every family shares."""

    norm: Norm = "batch"
    init: Init = "he_normal"
    activation: Activation = "relu"
    dropout: float = 0.0  # before the last dense layer, 0..1
    stochastic_depth: float = 0.0  # probability of dropping the last residual branch, 0..1


class Network(NamedTuple):
    """A published network: its numbers, the image it is for, its number of classes."""

    arch: ArchBase
    input_shape: Shape = (224, 224, 3)
    num_classes: int = 1000


class Choices(Protocol):
    """What `sample` asks for values; `keras_tuner.HyperParameters` is one such."""

    def Choice(self, name: str, values: Sequence[Value]) -> Value:
        """Pick one of `values`; the first is the cheapest."""
        ...


class Cheapest:
    """Choices that always take the first value: the cheapest network of a family.

    >>> Cheapest().Choice("width", [8, 16])
    8
    """

    def Choice(self, name: str, values: Sequence[Value]) -> Value:
        """Return the first of `values`."""
        return values[0]


class Deployable:
    """Choices without the values that a target cannot run.

    >>> Deployable(Cheapest(), "mobilenet_v3", ["edgetpu"]).Choice("norm", ["group", "batch"])
    'batch'
    """

    def __init__(self, choices: Choices, family_name: str, targets: Sequence[str]) -> None:
        own = getattr(family(family_name), "UNDEPLOYABLE_CHOICES", {})
        self._choices = choices
        self._refused = [table.get(t, {}) for t in targets for table in (UNDEPLOYABLE, own)]

    def Choice(self, name: str, values: Sequence[Value]) -> Value:
        """Pick one of the values that every target runs."""
        refused = [value for table in self._refused for value in table.get(name, ())]
        kept = [value for value in values if value not in refused]
        if not kept:
            raise RecipeError(f"no value of {name} runs on every target. Received: {list(values)}")
        return self._choices.Choice(name, kept)


def undeployable(name: str, targets: Sequence[str]) -> str | None:
    """Why no network of a family runs on all `targets`; None if some do."""
    reasons = getattr(family(name), "UNDEPLOYABLE", {})
    return next((f"{t}: {reasons[t]}" for t in targets if t in reasons), None)


def build(name: str, arch: Any, input_shape: Shape, num_classes: int) -> keras.Model:
    """Build the untrained network of family `name` from its `Arch`, or from that as JSON data.

    Args:
        input_shape: `(H, W, C)` of the images, pixels 0..255.
        num_classes: Length of the vector of scores.

    Raises:
        ModelError: the family cannot take images of that size.
    """
    module = family(name)
    return module.build(module.Arch.model_validate(arch), input_shape, num_classes)


def sample_style(
    hp: Choices,
    *,
    norms: Sequence[Norm] = ("batch",),
    activations: Sequence[Activation] = ("relu",),
    inits: Sequence[Init] = ("he_normal", "he_uniform", "glorot_uniform", "orthogonal", "lsuv"),
    dropouts: Sequence[float] = (0.0, 0.2),
    stochastic_depths: Sequence[float] = (0.0,),
) -> Style:
    """Choose what all families share; a choice of one value is not made."""

    def pick(name: str, values: Sequence[Any]) -> Any:
        return hp.Choice(name, list(values)) if len(values) > 1 else values[0]

    return Style(
        norm=pick("norm", norms),
        init=pick("init", inits),
        activation=pick("activation", activations),
        dropout=pick("dropout", dropouts),
        stochastic_depth=pick("stochastic_depth", stochastic_depths),
    )


def pixels(input_shape: Shape, smallest: int = 1) -> tuple[Any, Any]:
    """Input of raw pixels 0..255 `[B, H, W, C]`, and the same scaled to -1..1.

    By 1/128, so that the scaling is exactly an int8 input's scale and zero point.

    Raises:
        ModelError: a side is shorter than `smallest`.
    """
    if min(input_shape[:2]) < smallest:
        raise ModelError(
            f"the images are too small for this network. Received: {input_shape[:2]}. "
            f"It takes {smallest} pixels a side or more"
        )
    trace = tracing.current()
    inputs = (trace.input if trace else keras.Input)(input_shape, name="image")
    return inputs, layers.Rescaling(1 / 128, offset=-1.0, name="rescaling")(inputs)


def network(inputs: Any, outputs: Any, name: str) -> keras.Model:
    """Make the model; what `build` returns."""
    trace = tracing.current()
    return (trace.model if trace else keras.Model)(inputs, outputs, name=name)


def scores(x: Any, num_classes: int, style: Style, *, pool: bool = True) -> Any:
    """Global average pooling, dropout, dense, softmax: `[B, H, W, C]` -> `[B, num_classes]`."""
    if pool:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    if style.dropout:
        x = layers.Dropout(style.dropout, name="dropout")(x)
    x = layers.Dense(num_classes, kernel_initializer=initializer(style.init), name="logits")(x)
    return layers.Softmax(name="scores")(x)


class ConvOptions(TypedDict, total=False):
    """Settings of `conv` that few blocks need."""

    depthwise: bool  # one filter per input channel
    groups: int
    dilation: int
    bias: bool | None  # None: only where there is no normalization
    # "symmetric" pads `kernel // 2` on every side, as PyTorch and Caffe do; "same" pads as
    # TensorFlow does, which differs with strides
    padding: Literal["same", "valid", "symmetric"]
    epsilon: float  # of the normalization


def conv(
    x: Any,
    filters: int,
    kernel: int | tuple[int, int],
    strides: int | tuple[int, int] = 1,
    *,
    name: str,
    style: Style,
    activate: bool = True,
    **options: Unpack[ConvOptions],
) -> Any:
    """Convolution, normalization, activation: `[B, H, W, C]` -> `[B, H', W', filters]`.

    Args:
        filters: Output channels; ignored by a `depthwise` convolution, which keeps its input's.
        kernel: Side of the kernel, or `(kh, kw)`.
        style: Gives normalization, initializer and activation.
        activate: False leaves the activation out.
        options: See `ConvOptions`.
    """
    padding, bias = options.get("padding", "same"), options.get("bias")
    if padding == "symmetric":
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        x = layers.ZeroPadding2D(tuple(s // 2 for s in sides), name=f"{name}_pad")(x)
        padding = "valid"
    settings = {
        "padding": padding,
        "use_bias": style.norm == "none" if bias is None else bias,
        "dilation_rate": options.get("dilation", 1),
        "name": name,
    }
    init = initializer(style.init)
    if options.get("depthwise"):
        x = layers.DepthwiseConv2D(kernel, strides, depthwise_initializer=init, **settings)(x)
    else:
        settings["groups"] = options.get("groups", 1)
        x = layers.Conv2D(filters, kernel, strides, kernel_initializer=init, **settings)(x)
    x = normalize(x, style.norm, f"{name}_norm", options.get("epsilon", 1e-3))
    return activation(x, style.activation, f"{name}_{style.activation}") if activate else x


def normalize(x: Any, norm: Norm, name: str, epsilon: float = 1e-3) -> Any:
    """Normalize `[B, H, W, C]`: `(x - mean) / sqrt(variance + epsilon) * gamma + beta`.

    Mean and variance are taken per channel over the batch ("batch"), or per image over all
    channels ("layer"), each channel ("instance") or groups of channels ("group").
    """
    if norm == "none":
        return x
    if norm == "batch":
        return layers.BatchNormalization(momentum=0.9, epsilon=epsilon, name=name)(x)
    if norm == "local_response":
        return layers.LocalResponseNormalization(name=name)(x)
    channels = x.shape[-1]
    largest = next(g for g in range(min(GROUPS, channels), 0, -1) if channels % g == 0)
    groups = {"layer": 1, "instance": channels, "group": largest}[norm]
    return layers.GroupNormalization(groups, epsilon=epsilon, name=name)(x)


def activation(x: Any, kind: Activation, name: str) -> Any:
    """Apply an activation as a layer of its own."""
    if kind in ("relu", "relu6"):
        return layers.ReLU(6.0 if kind == "relu6" else None, name=name)(x)
    return layers.Activation(kind, name=name)(x)


def initializer(init: Init) -> Any:
    """The Keras initializer of a name; "lsuv" starts orthogonal and is finished by `lsuv`."""
    if init == "gaussian":
        return keras.initializers.RandomNormal(stddev=GAUSSIAN_STD)
    return keras.initializers.get("orthogonal" if init == "lsuv" else init)
