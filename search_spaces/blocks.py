"""Blocks that several families build with: residual branches, gates, and their widths."""

from typing import Any

from search_spaces.base import Style, activation, initializer, layers
from search_spaces.choices import Activation, Init


def residual(shortcut: Any, branch: Any, style: Style, name: str, depth: float) -> Any:
    """Add a residual branch, with stochastic depth in training.

    Args:
        depth: Place of the block in the network, 0 (first) to 1 (last); the probability of
            dropping it grows linearly with it: `p = depth * style.stochastic_depth`.
    """
    if rate := depth * style.stochastic_depth:
        branch = layers.StochasticDepth(rate, name=f"{name}_drop")(branch)
    return layers.Add(name=f"{name}_add")([shortcut, branch])


def squeeze_excite(
    x: Any, hidden: int, name: str, gate: str, init: Init, inner: Activation = "relu"
) -> Any:
    """Rescale channels by a gate computed from their means (Hu et al. 2018).

    Args:
        hidden: Channels of the bottleneck.
        gate: Activation of the gate: "sigmoid" or "hard_sigmoid".
        inner: Activation of the bottleneck.
    """
    channels = x.shape[-1]
    start = initializer(init)
    y = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
    y = layers.Conv2D(hidden, 1, kernel_initializer=start, name=f"{name}_reduce")(y)
    y = activation(y, inner, f"{name}_reduce_{inner}")
    y = layers.Conv2D(channels, 1, kernel_initializer=start, name=f"{name}_expand")(y)
    y = layers.Activation(gate, name=f"{name}_gate")(y)
    return layers.Multiply(name=f"{name}_excite")([x, y])


def round_channels(channels: float, divisor: int = 8) -> int:
    """Round to a multiple of `divisor`, never down by more than 10%.

    Source: Howard et al. 2017, as in the authors' MobileNet code.

    >>> round_channels(32 * 0.35), round_channels(24 * 0.75)
    (16, 24)
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
