"""How the kernel of an operator lies in the file, and how in Keras."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.quantization.network import Step

Array = npt.NDArray[Any]


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


def is_dense(step: Step) -> bool:
    """Whether a step is a dense layer, or a convolution that is one for every pixel."""
    if step.kind == "FULLY_CONNECTED":
        return True
    kernel, options = step.reads[1].shape, step.options
    return (
        step.kind == "CONV_2D"
        and tuple(kernel[1:3]) == (1, 1)
        and options.strideH == options.strideW == 1
        and kernel[3] == step.reads[0].shape[-1]
    )


def is_fast(step: Step, bits: int) -> bool:
    """Whether XNNPACK has a kernel for a dense step with weights of so few bits.

    The weights of an output have to fill whole bytes.
    """
    return is_dense(step) and step.reads[1].shape[-1] * bits % 8 == 0


def bias_of(step: Step, channels: int) -> Array:
    """The bias `[out]` of a step, zeros where it has none."""
    place = BIAS.get(step.kind, 2)
    data = step.reads[place].data if len(step.reads) > place else None
    return np.zeros(channels, np.float32) if data is None else np.asarray(data, np.float32)
