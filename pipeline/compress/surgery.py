"""Make a model with fewer channels, or with some of them twice; the rest keep their weights.

Source:  Chen et al. 2016, https://arxiv.org/abs/1511.05641, section 2.3, for doubled channels.
"""

from fractions import Fraction
from typing import Any

import keras
import numpy as np

from pipeline.graph import complexity, cut, rebuild, walk
from pipeline.graph.channel_ties import Labels
from pipeline.graph.channels import Channels
from pipeline.graph.kinds import table


def resized(
    channels: Channels, copies: np.ndarray, noise: float = 0.0, seed: int = 0
) -> keras.Model:
    """Make the model anew with `copies[class]` channels of every class: 0, 1 or more.

    A channel that is there `n` times is read with weights that are `n` times smaller.

    Args:
        channels: Of the model.
        copies: int [channels.count]; 1 for classes that have to stay.
        noise: Standard deviation of what the kernels of second copies are multiplied by, around
            1; without it, all copies of a channel would learn the same.
        seed: Of the noise.
    """

    def make(layer: Any, config: dict[str, Any]) -> Any:
        return type(layer).from_config({**config, **_settings(layer, config, channels, copies)})

    model, done = rebuild.replayed(channels.model, make)
    random = np.random.default_rng(seed)
    for old, new in done.made.values():
        part = cut.of(old, channels, copies)
        if old.weights:
            new.set_weights(part.noisy(noise, random) if noise else part.weights())
    return model


class Count:
    """Counts the MACs of `resized(channels, copies)` without making it.

    The MACs of a layer are in proportion to the channels that it reads and to those that it
    writes: `share` of its kind (`graph/kinds/kind.py`) says how.
    """

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self._rows: list[tuple[int, Any]] = []
        rows = complexity.profile(channels.model).layers
        for (layer, _, _), row in zip(walk.calls(channels.model), rows, strict=True):
            if row.macs:
                self._rows.append((row.macs, layer))

    def __call__(self, copies: np.ndarray) -> int:
        """MACs with `copies[class]` channels of every class."""
        total = Fraction(0)
        for count, layer in self._rows:
            reads, writes = self._channels.reads[id(layer)], self._channels.writes[id(layer)]
            share = table.of(layer).share(layer, _left(reads, copies), _left(writes, copies))
            total += count * share
        return int(total)


def _left(labels: Labels, copies: np.ndarray) -> Fraction:
    """Channels that will be there, as a share of those that are."""
    return Fraction(int(copies[labels].sum()), max(1, len(labels)))


def _settings(
    layer: Any, config: dict[str, Any], channels: Channels, copies: np.ndarray
) -> dict[str, Any]:
    """The settings of a layer that depend on the number of its channels."""
    kind, writes = table.of(layer), channels.writes[id(layer)]
    if kind.width:
        return {kind.width: int(copies[writes].sum())}
    return kind.settings(layer, config, writes, copies)
