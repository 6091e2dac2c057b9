"""What each kind of layer does to channels: it makes new ones, passes them on, or ties them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

Labels = np.ndarray  # int [C]: a number per channel, along the last axis of a tensor
Shape = tuple[int | None, ...]
# Functions that look at one value at a time.
POINTWISE = (
    *(
        "celu",
        "elu",
        "exponential",
        "gelu",
        "hard_sigmoid",
        "hard_shrink",
        "hard_silu",
        "hard_tanh",
    ),
    *("leaky_relu", "linear", "log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu"),
    *("soft_shrink", "softplus", "softsign", "squareplus", "tanh", "tanh_shrink", "threshold"),
)


@dataclass(frozen=True)
class Group:
    """Classes that the same layers write: they are ranked against each other."""

    writers: tuple[str, ...]  # names of layers, in the order of the model
    classes: np.ndarray  # int [N]
    size: int  # channels of a class in the first writer


@dataclass
class Ties:
    """Numbers of channels, and the classes that they are in (a union-find)."""

    parent: list[int] = field(default_factory=list)
    writer: list[str] = field(default_factory=list)  # layer that a number was made for
    reasons: dict[int, str] = field(default_factory=dict)  # number -> why it has to stay
    rigid: set[int] = field(default_factory=set)

    def new(self, count: int, writer: str) -> Labels:
        """Numbers for channels that a layer makes."""
        first = len(self.parent)
        self.parent += range(first, first + count)
        self.writer += [writer] * count
        return np.arange(first, first + count)

    def stuck(self, count: int, reason: str) -> Labels:
        """Numbers for channels that have to stay."""
        labels = self.new(count, "")
        self.stick(labels, reason)
        return labels

    def stick(self, labels: Labels, reason: str) -> None:
        """Make channels stay."""
        for number in labels.tolist():
            self.reasons.setdefault(number, reason)

    def tie(self, one: Labels, other: Labels) -> None:
        """Make each channel stand or fall with the one in the same place."""
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            self.parent[self.root(b)] = self.root(a)

    def root(self, number: int) -> int:
        """The class of a channel."""
        while self.parent[number] != number:
            self.parent[number] = self.parent[self.parent[number]]
            number = self.parent[number]
        return number

    def roots(self, labels: Labels) -> Labels:
        """The classes of channels."""
        return np.array([self.root(number) for number in labels.tolist()], np.int64)

    def groups(self, written: dict[str, Labels]) -> tuple[Group, ...]:
        """Classes that may go, by the layers that write them; `written` is by layer."""
        fixed = {self.root(number) for number in self.reasons}
        writers: dict[int, dict[str, None]] = {}
        for number, name in enumerate(self.writer):
            of_class = writers.setdefault(self.root(number), {})
            of_class.update({name: None} if name else {})
        sets: dict[tuple[str, ...], list[int]] = {}
        for root, names in writers.items():
            if names and root not in fixed:
                sets.setdefault(tuple(names), []).append(root)
        return tuple(
            Group(names, np.array(roots), int(np.sum(written[names[0]] == roots[0])))
            for names, roots in sets.items()
        )


@dataclass(frozen=True)
class Call:
    """One call of one layer; shapes are with the batch dimension."""

    layer: Any
    reads: list[Labels]
    into: list[Shape]
    output: Any

    @property
    def out(self) -> Shape:
        """Shape of the output."""
        return tuple(self.output.shape)

    @property
    def has_weights(self) -> bool:
        """Whether the layer is more than a function."""
        return bool(getattr(self.layer, "weights", None))

    @property
    def rule(self) -> "Rule | None":
        """What the layer, or operation of keras.ops, does to channels; None if that is unknown."""
        kind = type(self.layer).__name__
        if isinstance(self.layer, keras.layers.Layer):
            return RULES.get(kind)
        operation, node, _ = self.output._keras_history
        given = keras.tree.flatten(operation._inbound_nodes[node].arguments._flat_arguments)
        if any(np.ndim(value) for value in given if not hasattr(value, "_keras_history")):
            return None  # an array, which may be one number per channel
        if kind in MERGES:
            return _merged
        return _kept if kind.lower() in {name.replace("_", "") for name in POINTWISE} else None


def _made(ties: Ties, call: Call) -> Labels | None:
    """Convolutions and dense layers: every output channel reads all of the input, or a group."""
    writes = ties.new(call.out[-1] or 0, call.layer.name)
    groups = getattr(call.layer, "groups", 1)
    for labels in (call.reads[0], writes) if groups > 1 else ():
        first, *others = labels.reshape(groups, -1)  # groups stay as wide as each other
        for other in others:
            ties.tie(first, other)
    if getattr(call.layer, "depth_multiplier", 1) != 1:
        ties.rigid.update(call.reads[0].tolist())
    return writes


def _kept(ties: Ties, call: Call) -> Labels | None:
    """Layers that treat each channel by itself."""
    return call.reads[0]


def _depthwise(ties: Ties, call: Call) -> Labels | None:
    """Depthwise convolutions: channel `c m + i` reads channel `c`."""
    if call.layer.depth_multiplier != 1:
        ties.rigid.update(call.reads[0].tolist())
    return np.repeat(call.reads[0], call.layer.depth_multiplier)


def _padded(ties: Ties, call: Call) -> Labels | None:
    """Zeros around the places; called "channels_first", zeros before and after the channels."""
    if call.layer.data_format != "channels_first":
        return call.reads[0]
    before, after = call.layer.padding[1]
    return np.concatenate([ties.new(before, ""), call.reads[0], ties.new(after, "")])


def _normalized(ties: Ties, call: Call) -> Labels | None:
    """Normalization of each channel, or of groups of channels, which then go together."""
    layer, labels = call.layer, call.reads[0]
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    if [axis % len(call.out) for axis in axes] != [len(call.out) - 1]:
        return None
    if type(layer).__name__ == "BatchNormalization":
        return labels
    together = labels.reshape(getattr(layer, "groups", 1), -1)
    if together.shape[1] > 1:
        ties.rigid.update(labels.tolist())
    for row in together:
        ties.tie(np.full(len(row), row[0]), row)
    return labels


def _merged(ties: Ties, call: Call) -> Labels | None:
    """Element by element: channels in the same place are tied."""
    widest = max(call.reads, key=len)
    for labels in call.reads:
        if len(labels) == len(widest):
            ties.tie(widest, labels)
        else:
            ties.stick(labels, f"{call.layer.name!r} repeats it for every channel")
    return widest


def _joined(ties: Ties, call: Call) -> Labels | None:
    """Concatenation along the channels, or of places whose channels are the same."""
    if call.layer.axis % len(call.out) != len(call.out) - 1:
        return _merged(ties, call)
    return np.concatenate(call.reads)


def _reshaped(ties: Ties, call: Call) -> Labels | None:
    """Flattening and other shapes, where a channel of the result is one of the input."""
    before, after = call.into[0][1:], call.out[1:]
    if None in before or None in after or not before or not after:
        return None
    places = np.broadcast_to(call.reads[0], tuple(side or 0 for side in before))
    rows = places.reshape(-1, after[-1] or 0)
    fits = after[-1] in (before[-1], math.prod(side or 0 for side in before))
    return rows[0] if fits and np.all(rows == rows[0]) else None


def _permuted(ties: Ties, call: Call) -> Labels | None:
    """Transposition that leaves the channels last."""
    return call.reads[0] if call.layer.dims[-1] == len(call.layer.dims) else None


def _scaled(ties: Ties, call: Call) -> Labels | None:
    """Rescaling, by one number for all channels."""
    scalars = np.ndim(call.layer.scale) == 0 and np.ndim(call.layer.offset) == 0
    return call.reads[0] if scalars else None


Rule = Callable[[Ties, Call], Labels | None]
MERGES = ("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract")
MAKERS = (
    *("Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
    *("Dense", "SeparableConv1D", "SeparableConv2D"),
)
EACH = (
    *("Activation", "ActivityRegularization", "AlphaDropout", "Dropout", "ELU", "GaussianDropout"),
    *("GaussianNoise", "Identity", "LeakyReLU", "PReLU", "ReLU", "StochasticDepth"),
    *("ChannelScale", "ClassToken", "PositionEmbedding", "Resizing", "Softmax"),
    *(f"{kind}Pooling{n}D" for kind in ("Average", "Max") for n in (1, 2, 3)),
    *(f"Global{kind}Pooling{n}D" for kind in ("Average", "Max") for n in (1, 2, 3)),
    *(f"{kind}{n}D" for kind in ("Cropping", "UpSampling", "ZeroPadding") for n in (1, 2, 3)),
    *(f"SpatialDropout{n}D" for n in (1, 2, 3)),
)
RULES: dict[str, Rule] = {
    **dict.fromkeys(MAKERS, _made),
    **dict.fromkeys(EACH, _kept),
    **dict.fromkeys(MERGES, _merged),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _depthwise),
    **dict.fromkeys(
        ("BatchNormalization", "GroupNormalization", "LayerNormalization"), _normalized
    ),
    **dict.fromkeys(("Flatten", "Reshape"), _reshaped),
    "Concatenate": _joined,
    "Permute": _permuted,
    "Rescaling": _scaled,
    "ZeroPadding2D": _padded,
}
