"""Activations and gradients of few bits, to train and to evaluate honestly: no runtime has them.

XNNPACK, TFLM and the Edge TPU compute with activations of 8 bits or more, so no file is made of
these networks; `quantize.precision=binary` gives weights of one bit that phones do run.
"""

import copy
from collections.abc import Callable, Collection, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops, random

from pipeline.quantization import computing, operators
from pipeline.quantization.network import NO_ACTIVATION, Network, Step
from pipeline.quantization.precisions import Activations
from pipeline.quantization.rounding import evenly, passing

Array = npt.NDArray[Any]
BITS = 8  # of a pixel
DOREFA_BITS = 2  # of an activation
RELUS = ("RELU", "RELU6")
FUSED_RELUS = (1, 3)  # the same, as numbers of the schema


def signs(values: Any) -> Any:
    """-1 and 1, 1 for zero; the gradient passes where `|x| <= 1`.

    Source: binarized neural networks, Hubara et al. 2016, equations 1 and 4,
    https://arxiv.org/abs/1602.02830.
    """
    return passing(ops.clip(values, -1.0, 1.0), ops.where(values < 0, -1.0, 1.0))


def activations(values: Any, bits: int) -> Any:
    """Clipped to 0..1, then `evenly`.

    Source: DoReFa-Net, Zhou et al. 2016, equation 11, https://arxiv.org/abs/1606.06160.
    """
    return evenly(ops.clip(values, 0.0, 1.0), bits)


def gradients(values: Any, bits: int, seed: Any) -> Any:
    """A gradient `[B, ...]` of few bits, with noise that makes it right on average.

    `2 m (evenly(g / (2 m) + 1/2 + n / (2^k - 1)) - 1/2)` with `m = max |g|` of each image and `n`
    uniform in -1/2..1/2.

    Source: DoReFa-Net, equation 12.
    """
    axes = list(range(1, len(values.shape)))
    most = ops.maximum(ops.max(ops.abs(values), axis=axes, keepdims=True), keras.config.epsilon())
    noise = random.uniform(ops.shape(values), -0.5, 0.5, seed=seed) / (2**bits - 1)
    shares = ops.clip(values / (2 * most) + 0.5 + noise, 0.0, 1.0)
    return 2 * most * (evenly(shares, bits) - 0.5)


def instead(step: Step, image: Any, way: Activations) -> tuple[Any, Any]:
    """What an operator with weights reads instead of `image`, and a factor of its products.

    Args:
        step: A convolution, or a dense layer.
        image: `[B, H, W, C]`, or `[B, C]`.
        way: bnn, signs; xnor, signs, whose products `channel_scale` multiplies; dorefa, two bits.

    Returns:
        The activations, and the factor or None.
    """
    if way == "dorefa":
        return activations(image, DOREFA_BITS), None
    if way == "bnn":
        return signs(image), None
    if step.kind == "FULLY_CONNECTED":
        return signs(image), ops.mean(ops.abs(image), axis=-1, keepdims=True)
    options = step.options
    factor = channel_scale(
        image,
        step.reads[1].shape[1:3],
        strides=(options.strideH, options.strideW),
        padding=computing.PADDINGS[options.padding],
        dilation_rate=(options.dilationHFactor, options.dilationWFactor),
    )
    return signs(image), factor


def readers(net: Network, exempt: Collection[str]) -> list[Step]:
    """The operators that read activations of few bits: all with weights but the first and the last.

    Depthwise convolutions and the layers of `exempt` read 8 bits too.
    """
    last = [step for step in net.steps if step.makes[0] is net.scores]
    ends = {id(net.scores), *(id(read) for step in last for read in step.reads)}
    return [
        step
        for step in net.kernels
        if step.kind in ("CONV_2D", "FULLY_CONNECTED")
        and step.layer not in exempt
        and step.reads[0] is not net.image
        and id(step.makes[0]) not in ends
    ]


def drop_relus(net: Network, few: Collection[Step]) -> None:
    """Leave out each ReLU before signs: none of what it makes is negative.

    Args:
        net: Changed in place.
        few: The steps that take the signs of what they read.
    """
    signed = {id(step.reads[0]) for step in few}
    for step in reversed(net.steps):
        if id(step.makes[0]) not in signed:
            continue
        if step.kind in RELUS:
            step.kind = "QUANTIZE"  # computes nothing
        elif step.activation in FUSED_RELUS:
            step.options = copy.copy(step.options)
            step.options.fusedActivationFunction = NO_ACTIVATION
        elif not step.is_kernel and operators.RULES[step.kind].grid == "same":
            signed |= {id(read) for read in step.reads}


def channel_scale(images: Any, kernel_size: Sequence[int], **places: Any) -> Any:
    """What XNOR-Net multiplies the results of a convolution of signs by: `K = A * k`.

    `A` is the mean over the channels of `|x|`, `[B, H, W, 1]`, and `k` a kernel of `1 / (w h)`.

    Args:
        images: `[B, H, W, C]`, before their signs are taken.
        kernel_size: `(h, w)`.
        places: `strides` and `padding` of the convolution.

    Source: XNOR-Net, Rastegari et al. 2016, section 3.2, https://arxiv.org/abs/1603.05279.
    """
    mean = ops.mean(ops.abs(images), axis=-1, keepdims=True)
    height, width = kernel_size
    kernel = np.full((height, width, 1, 1), 1 / (height * width), np.float32)
    return ops.conv(mean, kernel, data_format="channels_last", **places)


def bit_planes(pixels: Array) -> Array:
    """The bits of pixels `[...]` of 0..255 as `[8, ...]` of 0 and 1, the lowest first.

    >>> bit_planes(np.array([5], np.uint8))[:3, 0].tolist()
    [1, 0, 1]
    """
    shifts = np.arange(BITS).reshape(-1, *(1,) * pixels.ndim)
    return (pixels[None].astype(np.int64) >> shifts) & 1


def by_planes(pixels: Array, product: Callable[[Array], Array]) -> Array:
    """A product that is linear in the pixels, as the sum of those of their bits.

    `x . w = sum_n 2^(n - 1) (x_n . w)`, with the bit planes `x_n` from the lowest, n = 1: so the
    first layer needs no more than products of single bits.

    Args:
        pixels: 0..255.
        product: Of one plane with the weights.

    Source: Hubara et al. 2016, equations 7 and 8, https://arxiv.org/abs/1609.07061.
    """
    parts = [2**n * product(plane) for n, plane in enumerate(bit_planes(pixels))]
    return np.asarray(np.sum(parts, axis=0))
