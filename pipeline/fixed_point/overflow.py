"""Run a network with integers, and accumulators of a given width: what overflow costs.

Convolutions and dense layers are computed exactly, product by product. In each, data and weights
are the integers of their formats; the bias is added to the sum in float.

Source:  bits that a layer needs by its weights, by its outputs, and with overflow, de Bruin et al.
         2020, https://arxiv.org/abs/2004.11783.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from pipeline.fixed_point import accumulators
from pipeline.fixed_point.accumulators import Overflow
from pipeline.fixed_point.formats import Format
from pipeline.fixed_point.network import Formats, Images, Key, Network
from pipeline.graph.scores import classes

NARROWEST = 2  # bits
BATCH = 10  # images at a time: the windows of a convolution take many times its input
KINDS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
Integers = npt.NDArray[np.int64]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Width:
    """An accumulator."""

    bits: int
    overflow: Overflow


EXACT = Width(64, "none")


@dataclass(frozen=True)
class Needs:
    """Bits that the accumulator of a layer needs, by what is known."""

    name: str
    pairs: int  # K
    any_weights: int  # whatever the weights and the data are
    weights: int  # with these weights, whatever the data are
    outputs: int  # for the outputs that were measured
    fractions: int  # FL_w + FL_d

    def integer(self, bits: int) -> int:
        """IL_acc: integer bits without the sign bit."""
        return bits - 1 - self.fractions


def is_exact(layer: Any) -> bool:
    """Whether a layer can be computed with integers."""
    plain = type(layer) in KINDS
    return plain and getattr(layer, "data_format", "channels_last") == "channels_last"


def scores(
    network: Network, images: Images, formats: Formats, width: Width | Mapping[int, Width]
) -> npt.NDArray[np.float32]:
    """Scores of raw images, `[N, K]`, with every layer's sums in such an accumulator.

    Args:
        network: The network.
        images: Raw, `[N, H, W, C]`.
        formats: Of the weights and the data of every layer.
        width: Of all layers, or by place of the layer; the others have one without end.
    """

    def watch(place: int, tensors: list[Any]) -> Any:
        own = width.get(place, EXACT) if isinstance(width, Mapping) else width
        return _output(network, place, tensors, formats, own)

    parts = range(0, len(images), BATCH)
    return np.concatenate([network.watched(images[i : i + BATCH], formats, watch) for i in parts])


def accuracy(
    network: Network,
    images: Images,
    labels: Array,
    formats: Formats,
    width: Width | Mapping[int, Width],
) -> float:
    """The fraction of the images that is classified correctly, see `scores`."""
    found = scores(network, images, formats, width)
    return float(np.mean(classes(found) == labels))


def needs(network: Network, images: Images, formats: Formats) -> list[Needs]:
    """What the accumulators of the layers need; layers that cannot be exact are left out."""
    most: dict[int, int] = {}

    def watch(place: int, tensors: list[Any]) -> Any:
        if not is_exact(network.layers[place].layer):
            return None
        sums = _sums(network, place, tensors, formats, EXACT)
        most[place] = max(most.get(place, 0), int(np.max(np.abs(sums), initial=0)))
        return _output(network, place, tensors, formats, EXACT)

    for start in range(0, len(images), BATCH):
        network.watched(images[start : start + BATCH], formats, watch)
    return [_needs(network, place, formats, found) for place, found in sorted(most.items())]


def _needs(network: Network, place: int, formats: Formats, most: int) -> Needs:
    weights, data = formats[Key(place, "weights")], formats[Key(place, "data")]
    one = network.layers[place]
    kernel = _kernel(one.layer, weights.integers(one.floats[0]))
    largest = float(np.abs(kernel).sum(axis=0).max()) * weights.step
    return Needs(
        one.name,
        len(kernel),
        accumulators.for_any_weights(weights, data, len(kernel)),
        accumulators.for_weights(weights, data, largest),
        accumulators.for_outputs(most),
        weights.fraction + data.fraction,
    )


def _output(
    network: Network, place: int, tensors: list[Any], formats: Formats, width: Width
) -> Any:
    """What a layer gives; None: it is computed in float, with rounded numbers."""
    layer = network.layers[place].layer
    if not is_exact(layer):
        return None
    sums = _sums(network, place, tensors, formats, width)
    step = formats[Key(place, "weights")].step * formats[Key(place, "data")].step
    made = sums.astype(np.float64) * step
    if layer.use_bias:
        made = made + np.asarray(layer.bias)
    found = tf.constant(made, tf.float32)
    return found if layer.activation is None else layer.activation(found)


def _sums(
    network: Network, place: int, tensors: list[Any], formats: Formats, width: Width
) -> Integers:
    """The sums of a layer, in steps of its accumulator."""
    one = network.layers[place]
    data: Format = formats[Key(place, "data")]
    kernel = _kernel(one.layer, formats[Key(place, "weights")].integers(one.floats[0]))
    windows = _windows(one.layer, data.integers(tensors[0]), kernel.shape[1])
    flat = windows.reshape(-1, *windows.shape[-2:])
    sums = accumulators.accumulated(flat, kernel, width.bits, width.overflow)
    return sums.reshape(*windows.shape[:-2], -1)


def _kernel(layer: Any, kernel: Integers) -> Integers:
    """Weights `[K, G, F]` of a kernel as Keras has it: the filters of each group of channels."""
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return kernel.reshape(-1, *kernel.shape[2:])
    groups = getattr(layer, "groups", 1)
    return kernel.reshape(-1, groups, kernel.shape[-1] // groups)


def _windows(layer: Any, data: Integers, groups: int) -> Integers:
    """What each position reads, `[..., K, G]`: rows, columns and then channels of the kernel."""
    if isinstance(layer, keras.layers.Dense):
        return data[..., None]
    strides, dilation = _pair(layer.strides), _pair(layer.dilation_rate)
    reach = [(k - 1) * d + 1 for k, d in zip(layer.kernel_size, dilation, strict=True)]
    if layer.padding == "same":
        sides = zip(data.shape[1:3], strides, reach, strict=True)
        missing = [max((-(-side // step) - 1) * step + k - side, 0) for side, step, k in sides]
        edges = [(one // 2, one - one // 2) for one in missing]
        data = np.pad(data, [(0, 0), *edges, (0, 0)])
    views = np.lib.stride_tricks.sliding_window_view(data, reach, axis=(1, 2))
    (down, right), (rows, columns) = strides, dilation
    taken = views[:, ::down, ::right, :, ::rows, ::columns]  # [N, H, W, C, kh, kw]
    channels = data.shape[-1] // groups
    split = taken.reshape(*taken.shape[:3], groups, channels, *taken.shape[4:])
    ordered = split.transpose(0, 1, 2, 5, 6, 4, 3)  # [N, H, W, kh, kw, C / G, G]
    return ordered.reshape(*taken.shape[:3], -1, groups)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def lowest(
    network: Network,
    images: Images,
    labels: Array,
    formats: Formats,
    widest: tuple[int, Width],
    least: float,
) -> int:
    """The fewest bits of the accumulator of one layer with which the accuracy holds.

    Args:
        network: The network.
        images: Raw, `[N, H, W, C]`.
        labels: `[N]`.
        formats: Of the weights and the data of every layer.
        widest: The place of the layer, and the accumulator to begin with.
        least: The accuracy.
    """
    place, width = widest
    bits = width.bits
    while bits > NARROWEST:
        narrower = {place: Width(bits - 1, width.overflow)}
        if accuracy(network, images, labels, formats, narrower) < least:
            break
        bits -= 1
    return bits
