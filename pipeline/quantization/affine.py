"""Products and sums with numbers per channel, as one operator."""

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.quantization.network import Network, Step, Value
from pipeline.tflite import assembly
from pipeline.tflite.read import named_after

Array = npt.NDArray[Any]
VALID = 1  # of the schema's `Padding`


def join(network: Network) -> None:
    """Make one depthwise convolution of a product and a sum with numbers per channel.

    A normalization that follows no convolution (in DenseNet and ResNetV2, or as the first layer)
    would be two operators, each of which rounds. A depthwise convolution of one pixel is one: its
    factors are exact, because each channel has a scale of its own, and its sums are 32-bit. What
    computes in float, or multiplies by one number, stays as it is.
    """
    kept: list[Step] = []
    joined: set[int] = set()
    for step in network.steps:
        if id(step) in joined:
            continue
        kept.append(step)
        factors = _per_channel(step, "MUL")
        is_number = np.asarray(step.reads[-1].data).size == 1
        if factors is None or (is_number and not _is_norm(step, network)):
            continue
        last, shifts = step, np.zeros_like(factors)
        readers = network.readers(step.makes[0])
        if len(readers) == 1 and not step.activation and step.makes[0] is not network.scores:
            found = _per_channel(readers[0], "ADD")
            if found is not None:
                last, shifts = readers[0], found
                joined.add(id(last))
        options = assembly.options(
            "DepthwiseConv2DOptions",
            padding=VALID,
            strideW=1,
            strideH=1,
            depthMultiplier=1,
            dilationWFactor=1,
            dilationHFactor=1,
            fusedActivationFunction=last.activation,
        )
        name = last.makes[0].name
        kernel = Value(f"{name}/kernel", (1, 1, 1, len(factors)), factors.reshape(1, 1, 1, -1))
        bias = Value(f"{name}/bias", (len(factors),), shifts)
        image = step.reads[0]
        kept[-1] = Step(
            "DEPTHWISE_CONV_2D",
            [image, kernel, bias],
            last.makes,
            options,
            last.layer or step.layer,
        )
    network.steps = kept


def _is_norm(step: Step, network: Network) -> bool:
    """Whether a step is a normalization, which may have one number for all channels by chance."""
    names = named_after(step.name, network.layers)
    return any(type(network.layers[name]).__name__ == "BatchNormalization" for name in names)


def _per_channel(step: Step, kind: str) -> Array | None:
    """The numbers `[C]` that a step multiplies or shifts the channels of images by."""
    if step.kind != kind or step.is_float or len(step.makes[0].shape) != 4:
        return None
    if step.reads[0].is_constant or not step.reads[1].is_constant:
        return None
    data, channels = step.reads[1].data, step.makes[0].shape[-1]
    if data is None or data.size not in (1, channels) or step.reads[0].shape != step.makes[0].shape:
        return None
    if data.size != 1 and data.shape[-1] != channels:
        return None
    return np.broadcast_to(data.reshape(-1), (channels,)).astype(np.float32)
