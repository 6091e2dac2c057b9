"""Put the weights of a network into a narrower or shorter one of the same kind.

The channels that stay are those that matter most: a set of channels that residual additions and
depthwise convolutions tie together is ranked as one, by the sum of `|gamma|` of all batch
normalizations that scale it.

Source: Liu et al. 2017, https://arxiv.org/abs/1708.06519, section 3, for gamma as importance.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from pipeline.errors import ModelError
from pipeline.graph import walk

IMAGE = "image"
PRODUCERS = ("Conv2D", "Dense")  # whose outputs are channels of their own
KNOWN = (*PRODUCERS, "BatchNormalization", "DepthwiseConv2D")
Ends = dict[str, tuple[str, str]]  # layer -> set of channels that it reads, that it writes


def copy(source: keras.Model, target: keras.Model, leave: tuple[str, ...] = ()) -> list[str]:
    """Give `target` what it can use of the weights of `source`; layers match by name.

    Args:
        source: Trained.
        target: As `source`, but with fewer channels, without some of its layers, or for images of
            one channel, which it then sees as grey.
        leave: Layers that stay as they are.

    Returns:
        Layers of `target` that stay as they are: those of `leave`, and those that read other
        channels than in `source`.

    Raises:
        ModelError: the two are not of the same kind, or the images have other channels.
    """
    theirs, ours = ends(source), ends(target)
    ranks = importance(source, theirs)
    layers = {layer.name: layer for layer in source.layers}
    fresh: set[str] = set()
    for layer, _, _ in walk.calls(target):
        if not layer.weights:
            continue
        reads, writes = ours[layer.name]
        if layer.name in leave or reads in fresh or theirs.get(layer.name) != ours[layer.name]:
            fresh |= {layer.name, writes}
            continue
        layer.set_weights(_cut(layers[layer.name], layer, ranks.get(reads), ranks.get(writes)))
    return [layer.name for layer in target.layers if layer.weights and layer.name in fresh]


def ends(model: keras.Model) -> Ends:
    """Which sets of channels each layer reads and writes.

    A set is named after the first layer that writes it; an addition makes its operands one.
    """
    parent = {IMAGE: IMAGE}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    of = {id(model.inputs[0]): IMAGE}
    found: Ends = {}
    for layer, sources, output in walk.calls(model):
        kind = type(layer).__name__
        if layer.weights and kind not in KNOWN:
            raise ModelError(f"layer {layer.name!r} cannot be narrowed. Received: {kind}")
        first, *others = (root(of[id(t)]) for t in sources)
        for other in others:
            parent[other] = first
        if kind in PRODUCERS:
            parent[layer.name] = layer.name
        of[id(output)] = layer.name if kind in PRODUCERS else first
        found[layer.name] = (first, of[id(output)])
    return {name: (root(reads), root(writes)) for name, (reads, writes) in found.items()}


def importance(model: keras.Model, sets: Ends) -> dict[str, np.ndarray]:
    """Importance of each channel of each set: the sum of `|gamma|` over its normalizations."""
    ranks: dict[str, Any] = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            written = sets[layer.name][1]
            ranks[written] = ranks.get(written, 0) + np.abs(np.asarray(layer.gamma))
    return ranks


def _cut(
    theirs: Any, ours: Any, reads: np.ndarray | None, writes: np.ndarray | None
) -> list[np.ndarray]:
    """The weights of a layer for the channels that stay."""
    cut = []
    for value, wanted in zip(theirs.get_weights(), ours.weights, strict=True):
        axes: Mapping[int, np.ndarray | None] = {value.ndim - 1: writes}
        if type(theirs).__name__ == "DepthwiseConv2D":
            axes = {2: writes}
        elif value.ndim > 1:
            axes = {value.ndim - 2: reads, value.ndim - 1: writes}
        for axis, ranks in axes.items():
            value = _kept(value, axis, ranks, wanted.shape[axis])
        cut.append(value)
    shapes = [value.shape for value in cut], [tuple(weight.shape) for weight in ours.weights]
    if shapes[0] != shapes[1]:
        raise ModelError(
            f"weights of another architecture. Received: {shapes[0]} for layer {ours.name!r}. "
            f"Expected: {shapes[1]}"
        )
    return cut


def _kept(value: np.ndarray, axis: int, ranks: np.ndarray | None, count: int) -> np.ndarray:
    """The `count` most important channels of an axis, in their order."""
    if value.shape[axis] == count:
        return value
    if ranks is not None and count < len(ranks):
        most = np.sort(np.argsort(-ranks, kind="stable")[:count])
        return np.take(value, most, axis)
    if ranks is None and count == 1:  # the image is grey
        return np.asarray(np.sum(value, axis, keepdims=True))
    raise ModelError(
        f"the network takes images of {value.shape[axis]} channels. Received: channels={count}. "
        "Choose a model of as many channels"
    )
