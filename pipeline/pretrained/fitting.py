"""The form in which a trained network wants its pictures: size, channels, and how they are fitted.

A network's own input is law: what it was trained on is what it is accurate on. How pictures of
other proportions were fitted into it is not written in any file, and is found as the values of
pixels are: by the val images that are classified correctly.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from pipeline.data import datasets
from pipeline.data.datasets import DataConfig
from pipeline.data.pictures import Fit
from pipeline.errors import ModelError
from pipeline.pretrained import class_order, presentation
from pipeline.pretrained import pixels as values
from pipeline.pretrained.class_order import Order
from pipeline.pretrained.pixels import Choice, Pixels
from pipeline.pretrained.presentation import Sample, Score

Shape = tuple[int | None, int | None, int]
Classes = Literal["data", "model"]
IMAGES = 500  # val images at most that are decoded in every way that is tried
FITS: tuple[Fit, ...] = ("stretch", "crop", "pad")  # the first is what Keras does by default
log = logging.getLogger("flopsmith")


@dataclass(frozen=True)
class Network:
    """A trained network whose classes are those of the data, as it came."""

    name: str  # for the log
    shape: Shape  # (H, W, C) that it takes; None: any
    score: Callable[[tuple[int, int, int]], Score]  # its scores of images of that shape
    reversible: bool = False  # whether its channels can be put into another order
    usual: Fit = "stretch"
    pixels: Choice = "auto"  # the values of pixels that it takes, where they are known
    asker: str = "load"  # who wants to know, for the log

    def candidates(self, statistics: values.Statistics) -> list[Pixels]:
        """Values of pixels that it may take."""
        if self.pixels != "auto":
            return [values.named(self.pixels, statistics)]
        return values.candidates(statistics, self.reversible)


def own_shape(model: Any) -> Shape:
    """(H, W, C) of the images that a Keras model takes; None for a side that may be any."""
    shape = tuple(model.inputs[0].shape[1:])
    sides = (*shape, 1) if len(shape) == 2 else shape
    if len(sides) != 3 or sides[-1] is None:
        return None, None, 0  # no images; adapting it says so
    return sides


def asked(shape: Shape, data: DataConfig) -> DataConfig:
    """The data in the size and channels that a network takes, unless others are asked for."""
    height, width, channels = shape
    update: dict[str, Any] = {}
    if data.image_size is None and height and width:
        update["image_size"] = height if height == width else (height, width)
    if data.channels is None and channels in (1, 3):
        update["channels"] = channels
    return data.model_copy(update=update)


def decided(network: Network, data: DataConfig, seed: int, classes: Classes = "data") -> DataConfig:
    """The data in the form in which a network classifies best, with reasons in the log.

    Args:
        network: Knows as many classes as the data.
        data: What is set there stays.
        seed: Of the division.
        classes: "model": the classes are put into the order of the network's scores.
    """
    formed = asked(network.shape, data)
    fits = FITS if data.fit == "auto" else (data.fit,)
    first, *others = sorted(fits, key=lambda fit: fit != network.usual)
    own, names = _sample(formed, first, seed)
    ways = {first: own, **{fit: _sample(formed, fit, seed)[0] for fit in others}}
    ways = {
        fit: one
        for fit, one in ways.items()
        if one is own or not np.array_equal(one.images, own.images)
    }
    mends = classes == "model" and data.classes is None
    fit, reason, found = first, "", None
    if len(ways) > 1 or mends:
        fit, reason, found = _best(network, ways, names)
    size = "x".join(map(str, own.images.shape[1:]))
    told = (network.asker, network.name, size, fit, reason)
    log.info("%s: %s gets images of %s, data.fit: %s%s", *told)
    update: dict[str, Any] = {"fit": fit}
    if mends and found is not None:
        update["classes"] = _sure(found, network)
    elif mends:
        log.info("%s: %s has its classes in the order of the data", network.asker, network.name)
    return formed.model_copy(update=update)


def _best(
    network: Network, ways: Mapping[Fit, Sample], names: tuple[str, ...]
) -> tuple[Fit, str, Order | None]:
    """The way of fitting with which it is most accurate, the reason, and another class order."""
    first, own = next(iter(ways.items()))
    height, width, channels = own.images.shape[1:]
    score = network.score((height, width, channels))
    best = presentation.recognized(score, own, network.candidates(own.statistics)).best
    order = class_order.order(best.classes, own.labels, names)
    if order is not None:
        ways = {fit: replace(one, labels=order.numbered(one.labels)) for fit, one in ways.items()}
    shown = [presentation.shown(score, one, best.pixels, fit) for fit, one in ways.items()]
    chosen = presentation.best_of(shown, usual=(first,))
    if len(shown) == 1 or all(one.guesses for one in shown):
        return first, "", order
    told = f": {100 * chosen.accuracy:.1f}% of {own.val} val images are right with it"
    rest = [f"{one.way} {100 * one.accuracy:.1f}%" for one in shown if one is not chosen]
    fit = next(one for one in ways if one == chosen.way)
    return fit, f"{told} ({', '.join(rest)})", order


def _sample(data: DataConfig, fit: Fit, seed: int) -> tuple[Sample, tuple[str, ...]]:
    """Val images, few enough to decode them several times, and the names of all classes."""
    val, names = datasets.sample(data.model_copy(update={"fit": fit}), seed, IMAGES, "val")
    images, labels = val.arrays()
    return Sample(images, labels, len(labels)), names


def _sure(order: Order, network: Network) -> tuple[str, ...]:
    """The classes in an order that is certain.

    Raises:
        ModelError: it is not; names the classes in doubt.
    """
    if order.doubtful:
        raise ModelError(
            f"{network.name}: {order.told()}; but too few images tell which output is which. "
            f"Received: doubtful classes={', '.join(order.doubtful[:5])}. Give all classes in the "
            "order of the scores with data.classes"
        )
    told = (network.asker, network.name, order.told())
    log.warning("%s: %s: %s. The data get the order of the network", *told)
    return order.names
