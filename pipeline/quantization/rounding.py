"""How weights become whole numbers times a step: evenly spaced, ternary, binary.

How to support another way: add a `Rounding` to `METHODS`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from keras import ops, random

from pipeline.quantization.precisions import Weights

Array = npt.NDArray[Any]
State = Mapping[str, Any]  # variables of a kernel besides its weights, by name
SMALLEST = 1e-12  # least step; avoids a division by zero
TERNARY_THRESHOLD = 0.7  # of the mean size of the weights
TRAINED_THRESHOLD = 0.05  # of the largest size of a weight


class Rounded(NamedTuple):
    """Weights on a grid: `numbers * steps`."""

    numbers: Any  # whole
    steps: Any  # broadcast over them


class Start(NamedTuple):
    """A variable that a way to round needs, and where it starts."""

    value: Array
    learns: bool


@dataclass(frozen=True)
class Rounding:
    """Round to `2^bits - 1` evenly spaced values, the largest of which is the largest weight.

    `q = round(w / s)` with `s = max |w| / (2^(bits - 1) - 1)`. Other ways derive from this one.

    Source: Jacob et al. 2018, section 3, https://arxiv.org/abs/1712.05877.
    """

    bits: int  # of a weight in the file

    def start(self, weights: Array, shared: Sequence[int]) -> dict[str, Start]:
        """The variables that a kernel needs besides its weights, by name.

        Args:
            weights: As they are before training.
            shared: Axes along which weights share a step: all but those of the channels, say.
        """
        return {}

    def round(self, weights: Any, shared: Sequence[int], state: State) -> Rounded:
        """The whole numbers and steps that the file has."""
        most = ops.max(ops.abs(weights), axis=list(shared), keepdims=True)
        steps = ops.maximum(most / (2 ** (self.bits - 1) - 1), SMALLEST)
        return Rounded(ops.round(weights / steps), steps)

    def learning(self, weights: Any, shared: Sequence[int], state: State) -> Any:
        """The rounded weights in training; gradients pass unchanged to the weights.

        Source: straight-through estimators, Bengio et al. 2013, https://arxiv.org/abs/1308.3432.
        """
        numbers, steps = self.round(weights, shared, state)
        return passing(weights, numbers * steps)

    def bound(self, weights: Any, state: State) -> Any:
        """What weights become after an update."""
        return weights


class Ternary(Rounding):
    """The values -1, 0 and 1 times the scale that is closest to the weights.

    `t = sign(w)` where `|w| > d`, else 0, with `d = 0.7 mean |w|`; the scale that minimizes
    `||w - a t||` is `a = mean |w|` over the weights with `t != 0`.

    Source: ternary weight networks, Li et al. 2016, equations 3 to 6,
    https://arxiv.org/abs/1605.04711.
    """

    def round(self, weights: Any, shared: Sequence[int], state: State) -> Rounded:
        """As the class says."""
        sizes, axes = ops.abs(weights), list(shared)
        threshold = TERNARY_THRESHOLD * ops.mean(sizes, axis=axes, keepdims=True)
        kept = ops.cast(sizes > threshold, weights.dtype)
        count = ops.maximum(ops.sum(kept, axis=axes, keepdims=True), 1.0)
        scale = ops.sum(kept * sizes, axis=axes, keepdims=True) / count
        return Rounded(ops.sign(weights) * kept, ops.maximum(scale, SMALLEST))


class TrainedTernary(Rounding):
    """The values -n, 0 and p of a layer, where training finds n and p.

    `p` where `w > d`, `-n` where `w < -d`, else 0, with `d = 0.05 max |w|`. The gradients of `p`
    and `n` are the sums over their weights; that of `w` is multiplied by `p`, `n` or 1. No grid of
    2 bits holds two scales, so the file has the two values in 8 bits.

    Source: trained ternary quantization, Zhu et al. 2017, equations 6 to 8,
    https://arxiv.org/abs/1612.01064.
    """

    def start(self, weights: Array, shared: Sequence[int]) -> dict[str, Start]:
        """The mean sizes of the weights beyond the threshold."""
        limit = TRAINED_THRESHOLD * np.max(np.abs(weights), initial=0)
        sides = {"positive": weights[weights > limit], "negative": -weights[weights < -limit]}
        return {
            name: Start(np.asarray(np.mean(side) if side.size else SMALLEST, np.float32), True)
            for name, side in sides.items()
        }

    def round(self, weights: Any, shared: Sequence[int], state: State) -> Rounded:
        """The two values as whole numbers of up to 127 times one step."""
        above, below = self._sides(weights)
        positive, negative = (ops.maximum(state[n], SMALLEST) for n in ("positive", "negative"))
        step = ops.maximum(positive, negative) / (2 ** (self.bits - 1) - 1)
        numbers = ops.round(positive / step) * above - ops.round(negative / step) * below
        return Rounded(numbers, ops.reshape(step, (1,) * len(weights.shape)))

    def learning(self, weights: Any, shared: Sequence[int], state: State) -> Any:
        """As the class says."""
        numbers, steps = self.round(weights, shared, state)
        above, below = self._sides(weights)
        positive, negative = state["positive"], state["negative"]
        factor = positive * above + negative * below + (1 - above - below)
        scaled = positive * above - negative * below + weights * ops.stop_gradient(factor)
        return passing(scaled, numbers * steps)

    def _sides(self, weights: Any) -> tuple[Any, Any]:
        limit = TRAINED_THRESHOLD * ops.max(ops.abs(weights))
        return (ops.cast(side > limit, weights.dtype) for side in (weights, -weights))  # type: ignore[return-value]


class Binary(Rounding):
    """The values -1 and 1 times the scale that is closest to the weights.

    `b = sign(w)`, 1 for zero; the scale that minimizes `||w - a b||` is `a = mean |w|`.

    Source: binary weight networks, Rastegari et al. 2016, equations 3 to 6,
    https://arxiv.org/abs/1603.05279.
    """

    def round(self, weights: Any, shared: Sequence[int], state: State) -> Rounded:
        """As the class says."""
        numbers = ops.where(weights < 0, -1.0, 1.0)
        scale = ops.mean(ops.abs(weights), axis=list(shared), keepdims=True)
        return Rounded(numbers, ops.maximum(scale, SMALLEST))


class Connected(Binary):
    """The signs of the weights times a scale that stays; weights stay within it.

    In units of the scale these are the values -1 and 1, and weights of -1..1.

    Source: BinaryConnect, Courbariaux et al. 2015, equation 1 and section 2.4,
    https://arxiv.org/abs/1511.00363.
    """

    def start(self, weights: Array, shared: Sequence[int]) -> dict[str, Start]:
        """The scale: the mean size of the weights."""
        scale = np.mean(np.abs(weights), axis=tuple(shared), keepdims=True)
        return {"scale": Start(np.maximum(scale, SMALLEST).astype(np.float32), learns=False)}

    def round(self, weights: Any, shared: Sequence[int], state: State) -> Rounded:
        """The signs, 1 for zero."""
        return Rounded(ops.where(weights < 0, -1.0, 1.0), state["scale"] + 0.0)

    def bound(self, weights: Any, state: State) -> Any:
        """Clipped to the scale: what lies beyond it would only delay a change of sign."""
        return ops.clip(weights, -state["scale"], state["scale"])


class Stochastic(Connected):
    """As `Connected`, with signs drawn in training: `P(+1) = clip((x + 1) / 2, 0, 1)`.

    Source: BinaryConnect, equations 2 and 3.
    """

    def learning(self, weights: Any, shared: Sequence[int], state: State) -> Any:
        """Signs drawn anew for each batch."""
        chance = ops.clip((weights / state["scale"] + 1) / 2, 0.0, 1.0)
        drawn = random.uniform(ops.shape(weights), seed=state["seed"]) < chance
        return passing(weights, ops.where(drawn, state["scale"], -state["scale"]))


class Bent(Rounding):
    """`2 evenly(tanh(w) / (2 max |tanh w|) + 1/2, k) - 1`, of one bit `sign(w) mean |w|`.

    The maximum and the mean are those of the layer. The values are odd multiples of
    `1 / (2^k - 1)`, which take one bit more in a file that also has zero.

    Source: DoReFa-Net, Zhou et al. 2016, equations 8 and 9, https://arxiv.org/abs/1606.06160.
    """

    def round(self, weights: Any, shared: Sequence[int], state: State) -> Rounded:
        """As the class says."""
        levels = 2 ** (self.bits // 2) - 1
        steps = ops.ones((1,) * len(weights.shape)) / levels
        if levels == 1:
            steps = steps * ops.mean(ops.abs(weights))
            return Rounded(ops.where(weights < 0, -1.0, 1.0), ops.maximum(steps, SMALLEST))
        return Rounded(2 * ops.round(self._shares(weights) * levels) - levels, steps)

    def learning(self, weights: Any, shared: Sequence[int], state: State) -> Any:
        """Gradients pass the rounding, and bend as the weights do."""
        bits = self.bits // 2
        if bits == 1:
            return super().learning(weights, shared, state)
        return 2 * evenly(self._shares(weights), bits) - 1

    def _shares(self, weights: Any) -> Any:
        bent = ops.tanh(weights)
        return bent / (2 * ops.maximum(ops.max(ops.abs(bent)), SMALLEST)) + 0.5


def evenly(values: Any, bits: int) -> Any:
    """`round((2^k - 1) x) / (2^k - 1)` for `x` of 0..1; gradients pass unchanged.

    Source: DoReFa-Net, equation 5.
    """
    levels = 2**bits - 1
    return passing(values, ops.round(values * levels) / levels)


def passing(given: Any, rounded: Any) -> Any:
    """`rounded`, with the gradient of `given`."""
    return given + ops.stop_gradient(rounded - given)


METHODS: dict[Weights, Rounding] = {
    "int8": Rounding(8),
    "int4": Rounding(4),
    "ternary": Ternary(2),
    "ternary_trained": TrainedTernary(8),
    "binary": Binary(2),
    "binary_connect": Connected(2),
    "binary_stochastic": Stochastic(2),
    "dorefa_1": Bent(2),
    "dorefa_2": Bent(4),
}
