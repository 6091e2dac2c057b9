"""Kernels on a grid: the weights of an operator, rounded in training as they are in the file.

A kernel is stored as its layer in Keras has it, with a factor per output channel beside it, where
the converter folded a normalization into it: so weights that share a value go on to share it.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from pipeline.graph import structure
from pipeline.quantization import operators
from pipeline.quantization.network import Network, Step
from pipeline.tflite.read import named_after

Array = npt.NDArray[Any]
Scope = Literal["channel", "shared", "tensor"]
SMALLEST = 1e-12  # least step; avoids a division by zero
CLOSE = 1e-4  # of the largest weight: what folding may differ by


class Layout(NamedTuple):
    """How the kernel of an operator lies in the file and in Keras.

    Attributes:
        to_keras: The order of the axes of the file in Keras; `()`: reshaped.
        channels: Axes of the output channels in Keras.
        scales: Axis of the output channels in the file.
    """

    to_keras: tuple[int, ...]
    channels: tuple[int, ...]
    scales: int = 0


LAYOUTS = {
    "CONV_2D": Layout((1, 2, 3, 0), (3,)),  # [out, kh, kw, in] -> [kh, kw, in, out]
    "DEPTHWISE_CONV_2D": Layout((), (2, 3), 3),  # [1, kh, kw, in m] -> [kh, kw, in, m]
    "FULLY_CONNECTED": Layout((1, 0), (1,)),  # [out, in] -> [in, out]
    "TRANSPOSE_CONV": Layout((1, 2, 0, 3), (2,)),  # [out, kh, kw, in] -> [kh, kw, out, in]
}
# Places among what an operator reads, where they are not the first and the third.
IMAGE = {"TRANSPOSE_CONV": 2}
BIAS = {"TRANSPOSE_CONV": 3}


def from_file(step: Step) -> Array:
    """The kernel of a step in the layout of Keras."""
    data, order = np.asarray(step.reads[1].data, np.float32), LAYOUTS[step.kind].to_keras
    if order:
        return data.transpose(order)
    multiplier = int(step.options.depthMultiplier) or 1
    return data.reshape(*data.shape[1:3], -1, multiplier)


def to_file(step: Step, kernel: Array) -> Array:
    """A kernel in the layout of Keras as the file has it."""
    layout = LAYOUTS[step.kind]
    if layout.to_keras:
        return np.ascontiguousarray(kernel.transpose(np.argsort(layout.to_keras)))
    return kernel.reshape(1, *kernel.shape[:2], -1)


def bias_of(step: Step, channels: int) -> Array:
    """The bias `[out]` of a step, zeros where it has none."""
    place = BIAS.get(step.kind, 2)
    data = step.reads[place].data if len(step.reads) > place else None
    return np.zeros(channels, np.float32) if data is None else np.asarray(data, np.float32)


@dataclass(frozen=True)
class Folded:
    """A kernel of a layer, and what its channels are multiplied by."""

    kernel: Array  # as the layer has it
    gain: Array  # broadcast over the kernel
    kept: structure.Kept | None  # what pruning or clustering left in it

    @property
    def is_plain(self) -> bool:
        """Whether nothing was folded into it."""
        return bool(np.all(self.gain == 1))


def folded(step: Step, network: Network) -> Folded:
    """Take apart the kernel of a step: that of its layer, times a factor per channel.

    Where no layer has such a kernel, the factors are 1.
    """
    whole, channels = from_file(step), LAYOUTS[step.kind].channels
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
                return Folded(weights, gain, structure.of(weights, axis))
    gain = np.ones([side if i in channels else 1 for i, side in enumerate(whole.shape)], np.float32)
    return Folded(whole, gain, structure.of(whole, channels[-1]))


class Rounded(NamedTuple):
    """A kernel on its grid: `values = numbers * steps`."""

    numbers: Any  # whole, in the layout of Keras
    steps: Any  # broadcast over them


@keras.saving.register_keras_serializable("flopsmith")
class Kernel(keras.layers.Layer):  # type: ignore[misc]
    """An operator with weights, which it rounds to `2^bits - 1` values of each channel."""

    def __init__(self, step: Step, network: Network, bits: int, name: str) -> None:
        super().__init__(name=name)
        self.step, self.bits = step, bits
        self.folded = folded(step, network)
        self.scope = self._scope()

    def _scope(self) -> Scope:
        """The weights that share a range: a channel, all of them, or all but for their gain.

        Clusters keep as many numbers as they have values only where one range serves all channels.
        Dense layers have one range, since not all runtimes read more.
        """
        shared = self.folded.kept == "clusters"
        equal = np.ptp(np.abs(self.folded.gain)) == 0
        if self.step.kind == "FULLY_CONNECTED" and self.bits == 8:
            return "tensor" if equal or not shared else "shared"
        return "shared" if shared else "channel"

    def build(self, input_shape: Any) -> None:
        """Create the weights, with the values that they have in the file."""
        kernel, gain = self.folded.kernel, self.folded.gain
        count = int(np.prod(gain.shape))
        self.kernel = self.add_weight(name="kernel", shape=kernel.shape)
        self.gain = None if self.folded.is_plain else self.add_weight(name="gain", shape=gain.shape)
        self.bias = self.add_weight(name="bias", shape=(count,))
        self.kernel.assign(kernel)
        if self.gain is not None:
            self.gain.assign(gain)
        self.bias.assign(bias_of(self.step, count))
        if self.folded.kept:
            axis = LAYOUTS[self.step.kind].channels[-1]
            self.kernel.constraint = structure.constraint(kernel, self.folded.kept, axis)

    @property
    def largest(self) -> int:
        """The largest number of a weight; the least is its negative."""
        return int(2 ** (self.bits - 1) - 1)

    def whole(self) -> Any:
        """The kernel that the operator has, not rounded."""
        return self.kernel if self.gain is None else self.kernel * self.gain

    def rounded(self) -> Rounded:
        """The whole numbers of the kernel, and their steps."""
        whole = self.whole()
        if self.scope == "shared":
            gain = 1.0 if self.gain is None else ops.abs(self.gain)
            most = ops.max(ops.abs(self.kernel)) * gain
        else:
            channels = () if self.scope == "tensor" else LAYOUTS[self.step.kind].channels
            rest = [axis for axis in range(len(whole.shape)) if axis not in channels]
            most = ops.max(ops.abs(whole), axis=rest, keepdims=True)
        steps = ops.maximum(most / self.largest, SMALLEST)
        return Rounded(ops.round(whole / steps), steps)

    def call(self, image: Any, scale: Any) -> Any:
        """Compute; gradients pass the rounding unchanged (Bengio et al. 2013).

        Args:
            image: What the operator reads.
            scale: Of its grid; that of the bias is the product with the step of the channel.
        """
        whole, (numbers, steps) = self.whole(), self.rounded()
        kernel = _passing(whole, numbers * steps)
        fine = scale * (ops.reshape(steps, (-1,)) if len(steps.shape) else steps)
        bias = _passing(self.bias, ops.round(self.bias / fine) * fine)
        return compute(self.step, image, kernel, bias)

    def compute_output_spec(self, image: Any, scale: Any) -> Any:
        """The shape of the result, for any number of images."""
        return keras.KerasTensor((None, *self.step.makes[0].shape[1:]), "float32")


def _passing(given: Any, rounded: Any) -> Any:
    """`rounded`, with the gradient of `given`."""
    return given + ops.stop_gradient(rounded - given)


def compute(step: Step, image: Any, kernel: Any, bias: Any) -> Any:
    """The result of a step with a kernel, in the layout of Keras."""
    shape: list[Any] = [None] if step.kind == "TRANSPOSE_CONV" else []
    given = [*shape, kernel, image] if shape else [image, kernel]
    return operators.compute(step, [*given, bias])
