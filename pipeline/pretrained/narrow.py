"""Put the weights of a network into a narrower or shorter one of the same kind.

The channels that stay are the most important ones: channels that residual additions and depthwise
convolutions tie together are ranked as one, by the sum of `|gamma|` of all batch normalizations
that scale them.

Source: Liu et al. 2017, https://arxiv.org/abs/1708.06519, section 3, for gamma as importance.
"""

import keras
import numpy as np

from pipeline.errors import ModelError
from pipeline.graph import channels, cut, importance, walk
from pipeline.graph.channel_ties import Labels
from pipeline.graph.channels import Channels

IMAGE = "image"
Ends = dict[str, tuple[str, str]]  # layer -> set of channels that it reads, that it writes


def copy(source: keras.Model, target: keras.Model, leave: tuple[str, ...] = ()) -> list[str]:
    """Give `target` the weights of `source` that it can use; layers match by name.

    Args:
        source: Trained.
        target: As `source`, but with fewer channels, without some of its layers, or for images of
            one channel, which it then sees as grey.
        leave: Layers that keep the weights that they have.

    Returns:
        Layers of `target` that keep the weights that they have: those of `leave`, and those that
        read other channels than in `source`.

    Raises:
        ModelError: the two are not of the same kind, or the images have other channels.
    """
    theirs, ours = channels.find(source), channels.find(target)
    before, after = ends(theirs), ends(ours)
    copies = _most_important(theirs, ours)
    layers = {layer.name: layer for layer in walk.layers(source)}
    fresh: set[str] = set()
    for layer in walk.layers(target):
        if not layer.weights:
            continue
        reads, writes = after[layer.name]
        if layer.name in leave or reads in fresh or before.get(layer.name) != after[layer.name]:
            fresh |= {layer.name, writes}
            continue
        weights = cut.of(layers[layer.name], theirs, copies).weights()
        if reads == IMAGE:
            weights = _grey(weights, layer)
        shapes = [value.shape for value in weights], [tuple(w.shape) for w in layer.weights]
        if shapes[0] != shapes[1]:
            raise ModelError(
                f"weights of another architecture. Received: {shapes[0]} for layer "
                f"{layer.name!r}. Expected: {shapes[1]}"
            )
        layer.set_weights(weights)
    return [layer.name for layer in target.layers if layer.weights and layer.name in fresh]


def ends(found: Channels) -> Ends:
    """The set of channels that each layer reads, and the one that it writes.

    A set is named after the first layer that makes its channels; several sets that are
    concatenated are named after all of them, as in "a+b".
    """

    def name(classes: Labels) -> str:
        makers = (found.makers.get(number, IMAGE) for number in classes.tolist())
        return "+".join(dict.fromkeys(makers))

    return {
        layer.name: (name(found.reads[id(layer)]), name(found.writes[id(layer)]))
        for layer in walk.layers(found.model)
    }


def _most_important(theirs: Channels, ours: Channels) -> np.ndarray:
    """Which classes of the source the target has room for: copies, 0 or 1, int [theirs.count]."""
    ranks = importance.scores(theirs, "gamma")
    room = {group.writers[0]: len(group.classes) for group in ours.groups}
    copies = np.ones(theirs.count, np.int64)
    for group in theirs.groups:
        count = room.get(group.writers[0], len(group.classes))
        falling = np.argsort(-ranks[group.classes], kind="stable")
        copies[group.classes[falling[count:]]] = 0
    return copies


def _grey(weights: list[np.ndarray], layer: keras.layers.Layer) -> list[np.ndarray]:
    """The weights of a layer that reads the image, for images of as many channels as it has.

    A kernel `[kh, kw, 3, out]` for colours sees grey images if its input channels are added up.
    """
    kernel, *others = weights
    has, given = kernel.shape[-2], layer.weights[0].shape[-2]
    if has == given:
        return weights
    if given == 1:
        return [np.asarray(np.sum(kernel, -2, keepdims=True)), *others]
    raise ModelError(
        f"the network takes images of {has} channels. Received: channels={given}. "
        "Choose a model of as many channels"
    )
