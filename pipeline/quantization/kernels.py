"""Kernels on a grid: the weights of an operator, rounded in training as they are in the file.

A kernel is stored as its layer in Keras has it, with a factor per output channel beside it, where
the converter folded a normalization into it: so weights that share a value go on to share it.
"""

from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from pipeline.graph import structure
from pipeline.quantization import layouts, operators, rounding
from pipeline.quantization.network import Network, Step
from pipeline.quantization.precisions import Weights
from pipeline.quantization.rounding import SMALLEST, Rounded, Rounding, passing
from pipeline.tflite.read import named_after

Array = npt.NDArray[Any]
Scope = Literal["channel", "shared", "tensor"]
WHOLE = ("int8", "int4")  # grids that hold as many values as there are clusters
CLOSE = 1e-4  # of the largest weight: what folding may differ by


@dataclass(frozen=True)
class Folded:
    """A kernel of a layer, and what its channels are multiplied by."""

    kernel: Array  # as the layer has it
    gain: Array  # broadcast over the kernel
    kept: structure.Kept | None  # what pruning or clustering left in it
    norm: Any = None  # the normalization that the gain comes from, where it is known
    bias: Array | float = 0.0  # `[out]`, of the layer before the normalization

    @property
    def is_plain(self) -> bool:
        """Whether nothing was folded into it."""
        return bool(np.all(self.gain == 1))


def folded(step: Step, network: Network) -> Folded:
    """Take apart the kernel of a step: that of its layer, times a factor per channel.

    The step then has the name of that layer; before, it has that of the last one that became a part
    of it, as an activation. Where no layer has such a kernel, the factors are 1.
    """
    whole, channels = layouts.from_file(step), layouts.LAYOUTS[step.kind].channels
    rest = tuple(axis for axis in range(whole.ndim) if axis not in channels)
    names = [
        name for t in (step.reads[1].name, step.name) for name in named_after(t, network.layers)
    ]
    for name in dict.fromkeys(names):
        for attribute in structure.KERNELS:
            own = getattr(network.layers[name], attribute, None)
            if not isinstance(own, keras.Variable) or tuple(own.shape) != whole.shape:
                continue
            weights = np.asarray(own, np.float32)
            power = np.sum(weights**2, axis=rest, keepdims=True, dtype=np.float64)
            product = np.sum(whole * weights, axis=rest, keepdims=True, dtype=np.float64)
            gain = np.where(power > 0, product / np.maximum(power, SMALLEST), 1).astype(np.float32)
            if np.max(np.abs(weights * gain - whole)) <= CLOSE * np.max(np.abs(whole)):
                axis = structure.channel_axis(network.layers[name])
                step.layer = name
                layer = network.layers[name]
                norm = network.norms.get(id(layer))
                if norm is not None and not _explains(norm, gain):
                    norm = None
                own_bias = getattr(layer, "bias", None) if norm is not None else None
                bias = 0.0 if own_bias is None else np.asarray(own_bias, np.float32)
                return Folded(weights, gain, structure.of(weights, axis), norm, bias)
    gain = np.ones([side if i in channels else 1 for i, side in enumerate(whole.shape)], np.float32)
    return Folded(whole, gain, structure.of(whole, channels[-1]))


def _explains(norm: Any, gain: Array) -> bool:
    """Whether a normalization alone makes the factors of the channels: it is of this kernel.

    A separable convolution has two kernels, of which the second takes the normalization.
    """
    own = 1 / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)
    own = own if norm.gamma is None else own * np.asarray(norm.gamma)
    same = own.size == gain.size
    return same and bool(np.allclose(own, gain.reshape(-1), rtol=10 * CLOSE, atol=CLOSE))


class Kernel(keras.layers.Layer):  # type: ignore[misc]
    """An operator with weights, which are rounded, and with a bias."""

    def __init__(
        self,
        step: Step,
        found: Folded,
        weights: Weights,
        live: bool,
        name: str,
        shared: "Kernel | None" = None,
    ) -> None:
        """Take over the weights of a step.

        Args:
            step: The operator.
            found: Its weights, as `folded` takes them apart.
            weights: How they are rounded.
            live: Whether a normalization that was folded into the kernel goes on to normalize each
                batch in training; else, its factors and shifts are trained as they are.
            name: Of the layer.
            shared: Another one of the same step, whose weights it rounds; None: it has its own.
        """
        super().__init__(name=name)
        self.step, self.form = step, weights
        self.folded = found
        self._norm_config = self.folded.norm.get_config() if live and self.folded.norm else None
        self.norm: Any = None
        self._owner = shared
        self.state: dict[str, Any] = {}  # what the way to round needs besides the weights

    @property
    def scope(self) -> Scope:
        """The weights that share a range: a channel, all of them, or all but for their gain.

        Clusters keep as many numbers as they have values only where one range serves all channels.
        Dense layers of 8 bits have one range, since not all runtimes read more.
        """
        shared = self.folded.kept == "clusters" and self.form in WHOLE
        equal = np.ptp(np.abs(self.folded.gain)) == 0
        dense = self.step.kind == "FULLY_CONNECTED" and self.form == "int8"
        if dense and self._norm_config is None:
            return "tensor" if equal or not shared else "shared"
        return "shared" if shared else "channel"

    def build(self, *_: Any) -> None:
        """Create the weights, with the values that they have in the file."""
        kernel, gain = self.folded.kernel, self.folded.gain
        count = int(np.prod(gain.shape))
        if self._owner is None:
            self.kernel = self.add_weight(name="kernel", shape=kernel.shape)
            self.kernel.assign(kernel)
        else:
            self.kernel = self._owner.kernel
        self.gain = None
        if self._norm_config:
            config = {**self._norm_config, "axis": -1, "name": "norm"}
            self.norm = keras.layers.BatchNormalization.from_config(config)
            self.norm.build((None, *self.step.makes[0].shape[1:]))
            self.norm.set_weights(self.folded.norm.get_weights())
        else:
            if not self.folded.is_plain:
                self.gain = self.add_weight(name="gain", shape=gain.shape)
                self.gain.assign(gain)
            self.shift = self.add_weight(name="bias", shape=(count,))
            self.shift.assign(layouts.bias_of(self.step, count))
        for name, (value, learns) in self.method.start(kernel, self._shared()).items():
            self.state[name] = self.add_weight(name=name, shape=value.shape, trainable=learns)
            self.state[name].assign(value)
        if self.form == "binary_stochastic":
            self.state["seed"] = keras.random.SeedGenerator(len(self.path))
        if self._owner is None:
            self.kernel.constraint = self._constraint()

    def follow(self, other: "Kernel") -> None:
        """Take over all that is not shared: what normalizations became, and the biases."""
        pairs = [(self.gain, other.gain), (self.norm, other.norm)]
        if self.norm is None:
            pairs.append((self.shift, other.shift))
        for own, given in pairs:
            if isinstance(own, keras.layers.Layer):
                own.set_weights(given.get_weights())
            elif own is not None:
                own.assign(given)

    def _constraint(self) -> Any:
        """What keeps the structure of the kernel, and what its way to round asks for."""
        axis = layouts.LAYOUTS[self.step.kind].channels[-1]
        kept = self.folded.kept
        keep = structure.constraint(self.folded.kernel, kept, axis) if kept else lambda same: same
        return lambda updated: self.method.bound(keep(updated), self.state)

    @property
    def method(self) -> Rounding:
        """How the weights are rounded."""
        return rounding.METHODS[self.form]

    def _shared(self) -> list[int]:
        """Axes of the kernel along which weights share a step."""
        channels = layouts.LAYOUTS[self.step.kind].channels if self.scope == "channel" else ()
        return [axis for axis in range(self.folded.kernel.ndim) if axis not in channels]

    def factors(self) -> Any:
        """What the channels of the kernel are multiplied by, broadcast over it; None: nothing."""
        if self.norm is None:
            return self.gain
        gain = ops.rsqrt(self.norm.moving_variance + self.norm.epsilon)
        gain = gain if self.norm.gamma is None else gain * self.norm.gamma
        return ops.reshape(gain, self.folded.gain.shape)

    def bias(self) -> Any:
        """What is added to the channels `[out]`."""
        if self.norm is None:
            return self.shift
        centred = ops.subtract(self.folded.bias, self.norm.moving_mean)
        moved = centred * ops.reshape(self.factors(), (-1,))
        return moved if self.norm.beta is None else moved + self.norm.beta

    def whole(self) -> Any:
        """The kernel that the operator has, not rounded."""
        gain = self.factors()
        return self.kernel if gain is None else self.kernel * gain

    def rounded(self) -> Rounded:
        """The whole numbers of the kernel of the operator, and their steps."""
        gain, shared = self.factors(), self._shared()
        if self.scope == "tensor":
            return self.method.round(self.whole(), shared, self.state)
        numbers, steps = self.method.round(self.kernel, shared, self.state)
        if gain is None:
            return Rounded(numbers, steps)
        return Rounded(numbers * ops.sign(gain), ops.maximum(steps * ops.abs(gain), SMALLEST))

    def _learning(self) -> Any:
        """The kernel of the layer, rounded as it is in training."""
        return self.method.learning(self.kernel, self._shared(), self.state)

    def call(self, image: Any, scale: Any, factor: Any = None, training: bool = False) -> Any:
        """Compute; gradients pass the rounding as the way to round says.

        Args:
            image: What the operator reads.
            scale: Of its grid; that of the bias is the product with the step of the channel.
            factor: What products are multiplied by before the bias, as XNOR-Net does.
            training: Whether a live normalization takes its statistics from the batch.
        """
        if training and self.norm is not None:
            given = image, self._learning(), self.folded.bias, factor
            raw = compute(self.step, *given, active=False)
            return operators.activated(self.step, self.norm(raw, training=True))
        numbers, steps = self.rounded()
        if training and self.scope != "tensor":
            gain, learning = self.factors(), self._learning()
            kernel = learning if gain is None else learning * gain
        else:
            kernel = passing(self.whole(), numbers * steps)
        fine = scale * ops.reshape(steps, (-1,))
        bias = self.bias()
        bias = passing(bias, ops.round(bias / fine) * fine)
        return compute(self.step, image, kernel, bias, factor)

    def compute_output_spec(
        self, image: Any, scale: Any, factor: Any = None, training: bool = False
    ) -> Any:
        """The shape of the result, for any number of images."""
        return keras.KerasTensor((None, *self.step.makes[0].shape[1:]), "float32")


def compute(
    step: Step, image: Any, kernel: Any, bias: Any, factor: Any = None, active: bool = True
) -> Any:
    """The result of a step with a kernel, in the layout of Keras, and its activation if asked."""
    given = [image, kernel]
    if step.kind == "TRANSPOSE_CONV":
        given = [None, kernel, image]
    if factor is None:
        made = operators.RULES[step.kind].compute(step, [*given, bias])
    else:
        made = operators.RULES[step.kind].compute(step, given) * factor + bias
    return operators.activated(step, made) if active else made
