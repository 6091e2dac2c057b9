"""Run a family's `build` on shapes alone: the same calls, no weights, no graph, about 1 ms.

Keras takes 2 to 4 ms a layer to build a network, most of it for weights; a search under a budget
counts hundreds of networks that it never trains. Here every layer is a function from shapes to a
shape that notes its parameters and multiplications. A test holds it to `complexity.profile`, which
counts a built network by `pipeline/graph/kinds/`, where all else about a kind of layer is.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

Sizes = tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class Symbol:
    """A tensor without values; its first dimension, the batch, is None."""

    shape: Sizes

    @property
    def sides(self) -> tuple[int, ...]:
        """The shape without the batch."""
        return tuple(int(side) for side in self.shape[1:] if side is not None)


Reach = tuple[int, int] | None  # (side of the window with dilation, stride); None: everything


@dataclass(frozen=True)
class Call:
    """One call of one layer; tensors are anything with a shape."""

    name: str
    kind: str
    inputs: tuple[Any, ...]
    output: Any
    params: int
    trainable_params: int
    macs: int
    reach: Reach
    function: str = ""  # the activation that the layer is or contains


@dataclass
class Trace:
    """What a network called, in order; stands in for `keras.layers` while it is built."""

    calls: list[Call] = field(default_factory=list)
    inputs: list[Symbol] = field(default_factory=list)
    outputs: list[Symbol] = field(default_factory=list)
    name: str = ""

    def input(self, shape: Sequence[int], name: str) -> Symbol:
        """Take the place of `keras.Input`."""
        self.inputs.append(Symbol((None, *shape)))
        return self.inputs[-1]

    def model(self, inputs: Any, outputs: Any, name: str) -> "Trace":
        """Take the place of `keras.Model`."""
        self.outputs = outputs if isinstance(outputs, list) else [outputs]
        self.name = name
        return self

    def __getattr__(self, kind: str) -> Callable[..., Any]:
        """Return the stand-in of one class of layers.

        Raises:
            NotImplementedError: there is none; add it to `RULES`.
        """
        if kind.startswith("_"):
            raise AttributeError(kind)
        if kind not in RULES:
            raise NotImplementedError(
                f"no shape rule for layer {kind}. Add one to {__name__}.RULES"
            )

        def layer(*args: Any, name: str = "", **settings: Any) -> Callable[..., Symbol]:
            made = len(self.calls)

            def apply(x: Any, *more: Any, **_: Any) -> Symbol:
                sources = (*(x if isinstance(x, list | tuple) else [x]), *more)
                cost = RULES[kind]([s.sides for s in sources], *args, **settings)
                output = Symbol((None, *cost.output))
                again = any(c.name == name and c.kind == kind for c in self.calls[made:])
                weights = (0, 0) if again and name else (cost.params + cost.frozen, cost.params)
                more = (cost.macs, cost.reach)
                self.calls.append(Call(name, kind, sources, output, *weights, *more, cost.function))
                return output

            return apply

        return layer


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def current() -> Trace | None:
    """The trace being recorded, if one is."""
    return _current.get()


@contextmanager
def recording() -> Iterator[Trace]:
    """Make families build on shapes alone."""
    trace = Trace()
    token = _current.set(trace)
    try:
        yield trace
    finally:
        _current.reset(token)


@dataclass(frozen=True)
class Cost:
    """What one call costs: output sides, trained weights, weights that are not trained, MACs."""

    output: tuple[int, ...]
    params: int = 0
    frozen: int = 0
    macs: int = 0
    reach: Reach = (1, 1)
    function: str = ""


Inputs = list[tuple[int, ...]]


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _length(size: int, kernel: int, stride: int, padding: str, dilation: int = 1) -> int:
    """Positions of a window: `ceil(n / s)` for "same", `ceil((n - d (k - 1)) / s)` for "valid".

    >>> _length(32, 5, 1, "valid"), _length(7, 3, 2, "same")
    (28, 4)
    """
    if padding == "same":
        return math.ceil(size / stride)
    positions = math.ceil((size - dilation * (kernel - 1)) / stride)
    if positions < 1:
        raise ValueError(f"a window of {kernel} does not fit in {size} values")
    return positions


def _window(
    sides: tuple[int, ...], kernel: Any, strides: Any, padding: str, dilation: Any = 1
) -> tuple[int, int]:
    settings = zip(sides[:2], _pair(kernel), _pair(strides), _pair(dilation), strict=True)
    height, width = (_length(n, k, s, padding, d) for n, k, s, d in settings)
    return height, width


def _reach(kernel: Any, strides: Any, dilation: Any = 1) -> Reach:
    """The larger side of a window with its dilation, and the larger stride."""
    settings = zip(_pair(kernel), _pair(dilation), strict=True)
    return max((k - 1) * d + 1 for k, d in settings), max(_pair(strides))


def _conv2d(
    inputs: Inputs,
    filters: int,
    kernel_size: Any,
    strides: Any = 1,
    padding: str = "valid",
    groups: int = 1,
    dilation_rate: Any = 1,
    use_bias: bool = True,
    **_: Any,
) -> Cost:
    (sides,) = inputs
    height, width = _window(sides, kernel_size, strides, padding, dilation_rate)
    kernel = math.prod(_pair(kernel_size)) * (sides[2] // groups) * filters
    params = kernel + filters * use_bias
    reach = _reach(kernel_size, strides, dilation_rate)
    return Cost((height, width, filters), params, macs=kernel * height * width, reach=reach)


def _depthwise(inputs: Inputs, kernel_size: Any, strides: Any = 1, **settings: Any) -> Cost:
    channels = inputs[0][2]
    return _conv2d(inputs, channels, kernel_size, strides, groups=channels, **settings)


def _dense(inputs: Inputs, units: int, use_bias: bool = True, **_: Any) -> Cost:
    (sides,) = inputs
    kernel = sides[-1] * units
    return Cost(
        (*sides[:-1], units), kernel + units * use_bias, macs=kernel * math.prod(sides[:-1])
    )


def _attention(
    inputs: Inputs, num_heads: int, key_dim: int, use_bias: bool = True, **_: Any
) -> Cost:
    """Four projections, and two products of `[heads, N, N]` with `[N, key_dim]`."""
    tokens, channels = inputs[0]
    hidden = num_heads * key_dim
    kernels = 4 * channels * hidden
    params = kernels + (3 * hidden + channels) * use_bias
    macs = tokens * kernels + 2 * tokens * tokens * hidden
    return Cost((tokens, channels), params, macs=macs, reach=None)


def _same(inputs: Inputs, *_: Any, **__: Any) -> Cost:
    return Cost(inputs[0])


def _batch_norm(inputs: Inputs, *_: Any, **__: Any) -> Cost:
    channels = inputs[0][-1]
    return Cost(inputs[0], 2 * channels, frozen=2 * channels)


def _per_channel(weights: int) -> Callable[..., Cost]:
    return lambda inputs, *_, **__: Cost(inputs[0], weights * inputs[0][-1])


def _pool(
    inputs: Inputs, pool_size: Any = 2, strides: Any = None, padding: str = "valid", **_: Any
) -> Cost:
    (sides,) = inputs
    strides = pool_size if strides is None else strides
    output = (*_window(sides, pool_size, strides, padding), sides[2])
    return Cost(output, reach=_reach(pool_size, strides))


def _global_pool(inputs: Inputs, keepdims: bool = False, **_: Any) -> Cost:
    channels = inputs[0][-1]
    output = (1,) * (len(inputs[0]) - 1) + (channels,) if keepdims else (channels,)
    return Cost(output, reach=None)


def _pad(inputs: Inputs, padding: Any = 1, data_format: str = "channels_last", **_: Any) -> Cost:
    (sides,) = inputs
    edges = [_pair(side) for side in ((padding,) * 2 if isinstance(padding, int) else padding)]
    axes = (1, 2) if data_format == "channels_first" else (0, 1)
    grown = list(sides)
    for axis, (before, after) in zip(axes, edges, strict=True):
        grown[axis] += before + after
    return Cost(tuple(grown))


def _concatenate(inputs: Inputs, axis: int = -1, **_: Any) -> Cost:
    if axis not in (-1, len(inputs[0])):
        raise NotImplementedError("only the last axis is concatenated here")
    return Cost((*inputs[0][:-1], sum(sides[-1] for sides in inputs)))


def _reshape(inputs: Inputs, target_shape: Sequence[int], **_: Any) -> Cost:
    total, known = math.prod(inputs[0]), math.prod(s for s in target_shape if s != -1)
    return Cost(tuple(total // known if side == -1 else side for side in target_shape))


def _crop(inputs: Inputs, cropping: Any = 1, **_: Any) -> Cost:
    (tokens, channels), (before, after) = inputs[0], _pair(cropping)
    return Cost((tokens - before - after, channels))


def _broadcast(inputs: Inputs, *_: Any, **__: Any) -> Cost:
    return Cost(tuple(max(sides) for sides in zip(*inputs, strict=True)))


RULES: dict[str, Callable[..., Cost]] = {
    "Activation": lambda i, function, **_: Cost(i[0], function=function),
    "Add": _broadcast,
    "Average": _broadcast,
    "AveragePooling2D": _pool,
    "BatchNormalization": _batch_norm,
    "ChannelScale": _per_channel(1),
    "ClassToken": lambda i: Cost((i[0][0] + 1, i[0][1]), i[0][1]),
    "Concatenate": _concatenate,
    "Conv2D": _conv2d,
    "Cropping1D": _crop,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise,
    "Dropout": _same,
    "Flatten": lambda i, **_: Cost((math.prod(i[0]),), reach=None),
    "GlobalAveragePooling1D": _global_pool,
    "GlobalAveragePooling2D": _global_pool,
    "GlobalMaxPooling2D": _global_pool,
    "GroupNormalization": _per_channel(2),
    "LayerNormalization": _per_channel(2),
    "LocalResponseNormalization": _same,
    "MaxPooling2D": _pool,
    "MultiHeadAttention": _attention,
    "Multiply": _broadcast,
    "PositionEmbedding": lambda i: Cost(i[0], math.prod(i[0])),
    "ReLU": _same,
    "Rescaling": _same,
    "Reshape": _reshape,
    "Softmax": _same,
    "SpatialDropout2D": _same,
    "StochasticDepth": _same,
    "ZeroPadding2D": _pad,
}
