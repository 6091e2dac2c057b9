"""Activations and gradients of few bits, to train and to evaluate honestly: no runtime has them.

XNNPACK, TFLM and the Edge TPU compute with activations of 8 bits or more, so no file is made of
these networks; `quantize.precision=binary` gives weights of one bit that phones do run.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops, random

from pipeline.quantization.rounding import passing

Array = npt.NDArray[Any]
BITS = 8  # of a pixel


def signs(values: Any) -> Any:
    """-1 and 1, 1 for zero; the gradient passes where `|x| <= 1`.

    Source: binarized neural networks, Hubara et al. 2016, equations 1 and 4,
    https://arxiv.org/abs/1602.02830.
    """
    return passing(ops.clip(values, -1.0, 1.0), ops.where(values < 0, -1.0, 1.0))


def evenly(values: Any, bits: int) -> Any:
    """`round((2^k - 1) x) / (2^k - 1)` for `x` of 0..1; gradients pass unchanged.

    Source: DoReFa-Net, Zhou et al. 2016, equation 5, https://arxiv.org/abs/1606.06160.
    """
    levels = 2**bits - 1
    return passing(values, ops.round(values * levels) / levels)


def activations(values: Any, bits: int) -> Any:
    """Clipped to 0..1, then `evenly`.

    Source: DoReFa-Net, equation 11.
    """
    return evenly(ops.clip(values, 0.0, 1.0), bits)


def weights(values: Any, bits: int) -> Any:
    """`2 evenly(tanh(w) / (2 max |tanh w|) + 1/2) - 1`; of one bit, `sign(w) mean |w|`.

    Source: DoReFa-Net, equations 8 and 9.
    """
    if bits == 1:
        return passing(values, ops.where(values < 0, -1.0, 1.0) * ops.mean(ops.abs(values)))
    bent = ops.tanh(values)
    return 2 * evenly(bent / (2 * ops.max(ops.abs(bent))) + 0.5, bits) - 1


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


def channel_scale(images: Any, kernel_size: tuple[int, int], **places: Any) -> Any:
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
