"""How weights become whole numbers times a step: evenly spaced, ternary, binary.

Each function takes weights and the axes along which they share a step, all but those of the output
channels, say, and returns whole numbers and steps that broadcast over them.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from keras import ops

Weights = Literal["int8", "int4", "ternary", "binary"]
SMALLEST = 1e-12  # least step; avoids a division by zero
TERNARY_THRESHOLD = 0.7  # of the mean size of the weights


class Rounded(NamedTuple):
    """Weights on a grid: `numbers * steps`."""

    numbers: Any  # whole
    steps: Any  # broadcast over them


def evenly(weights: Any, shared: Sequence[int], bits: int) -> Rounded:
    """Round to `2^bits - 1` values, the largest of which is the largest weight.

    `q = round(w / s)` with `s = max |w| / (2^(bits - 1) - 1)`.

    Source: Jacob et al. 2018, section 3, https://arxiv.org/abs/1712.05877.
    """
    most = ops.max(ops.abs(weights), axis=list(shared), keepdims=True)
    steps = ops.maximum(most / (2 ** (bits - 1) - 1), SMALLEST)
    return Rounded(ops.round(weights / steps), steps)


def ternary(weights: Any, shared: Sequence[int]) -> Rounded:
    """The values -1, 0 and 1 times the scale that is closest to the weights.

    `t = sign(w)` where `|w| > d`, else 0, with `d = 0.7 mean |w|`; the scale that minimizes
    `||w - a t||` is `a = mean |w|` over the weights with `t != 0`.

    Source: ternary weight networks, Li et al. 2016, equations 3 to 6,
    https://arxiv.org/abs/1605.04711.
    """
    sizes, axes = ops.abs(weights), list(shared)
    threshold = TERNARY_THRESHOLD * ops.mean(sizes, axis=axes, keepdims=True)
    kept = ops.cast(sizes > threshold, weights.dtype)
    count = ops.maximum(ops.sum(kept, axis=axes, keepdims=True), 1.0)
    scale = ops.sum(kept * sizes, axis=axes, keepdims=True) / count
    return Rounded(ops.sign(weights) * kept, ops.maximum(scale, SMALLEST))


def binary(weights: Any, shared: Sequence[int]) -> Rounded:
    """The values -1 and 1 times the scale that is closest to the weights.

    `b = sign(w)`, 1 for zero; the scale that minimizes `||w - a b||` is `a = mean |w|`.

    Source: binary weight networks, Rastegari et al. 2016, equations 3 to 6,
    https://arxiv.org/abs/1603.05279.
    """
    numbers = ops.where(weights < 0, -1.0, 1.0)
    scale = ops.mean(ops.abs(weights), axis=list(shared), keepdims=True)
    return Rounded(numbers, ops.maximum(scale, SMALLEST))


METHODS: dict[Weights, Callable[[Any, Sequence[int]], Rounded]] = {
    "int8": lambda weights, shared: evenly(weights, shared, 8),
    "int4": lambda weights, shared: evenly(weights, shared, 4),
    "ternary": ternary,
    "binary": binary,
}
