"""What `flopsmith bits` finds out about a trained network, as plain data."""

import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from pipeline.data.datasets import Dataset, Split
from pipeline.errors import ModelError
from pipeline.fixed_point import costs, overflow, search
from pipeline.fixed_point.accumulators import Overflow
from pipeline.fixed_point.formats import MOST
from pipeline.fixed_point.network import Formats, Key, Network
from pipeline.fixed_point.overflow import Width
from pipeline.fixed_point.search import Descent, Found, Measured
from pipeline.graph.scores import classes
from pipeline.system import progress

TOLERANCES = (0.01, 0.02, 0.05, 0.1)
NORMAL = 0.99  # of the accuracy that a narrower accumulator has to keep
OVERFLOWS: tuple[Overflow, ...] = ("wrap", "clip")
MEASUREMENTS = 20  # that a format takes, about
LONG = 60.0  # seconds of a search of which it is said how long it takes
Array = npt.NDArray[Any]
log = logging.getLogger("flopsmith")


@dataclass(frozen=True)
class Asked:
    """What is asked of the survey."""

    images: int = 500  # of each part
    tolerances: Sequence[float] = TOLERANCES
    accumulators: Sequence[int] = (16, 12, 8)  # widths that are simulated, in bits
    exact_images: int = 100  # that are computed with integers
    lowest: bool = False  # whether the narrowest accumulators are searched
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Part:
    """Some images of a part of the data."""

    images: Array
    labels: Array

    @classmethod
    def of(cls, split: Split, count: int, seed: int) -> "Part":
        """At random, all if there are no more."""
        places = np.random.default_rng(seed).permutation(len(split))[:count]
        rows = np.sort(places)
        return cls(np.asarray(split.images[split.index[rows]]), split.labels[rows])

    def accuracy(self, scores: Array) -> float:
        """The fraction that is classified correctly."""
        return float(np.mean(classes(scores) == self.labels))


def of(model: keras.Model, dataset: Dataset, asked: Asked, least: Callable[..., int]) -> Any:
    """Survey a classifier of raw images.

    Args:
        model: Pixels 0..255 -> scores.
        dataset: Ranges are measured on its train images, bits are searched with its val images, and
            each result is judged on its test images.
        asked: How thoroughly.
        least: Takes the share of the largest class and the number of images: how many a model has
            to classify correctly to be more than a guess.

    Raises:
        ModelError: it is no better than guessing, or has no layers with weights.
    """
    train, val, test = (
        Part.of(split, asked.images, asked.seed)
        for split in (dataset.train, dataset.val, dataset.test)
    )
    network = Network(model)
    with network.kept():
        return _Survey(network, train, val, test, asked).run(least)


class _Survey:
    """One network on some images."""

    def __init__(self, network: Network, train: Part, val: Part, test: Part, asked: Asked) -> None:
        self.network, self.asked = network, asked
        self.train, self.val, self.test = train, val, test
        self.floats = network.scores(val.images, {})
        self.accuracy = val.accuracy(self.floats)

    def run(self, least: Callable[..., int]) -> dict[str, Any]:
        self._refuse_guessing(least)
        ranges = self.network.ranges(self.train.images)
        keys = {key: ranges[key] for key in sorted(ranges)}
        found = {
            name: self._searched(name, groups(keys, self._values))
            for name, groups in (("uniform", search.evenly), ("dynamic", search.by_layer))
        }
        parts = {"train": self.train, "val": self.val, "test": self.test}
        best = next((one for one in found["dynamic"].values() if one), None)
        return {
            "images": {name: len(part.labels) for name, part in parts.items()},
            "float": {
                "val_accuracy": self.accuracy,
                "test_accuracy": self.test.accuracy(self.network.scores(self.test.images, {})),
            },
            "layers": [
                {
                    "name": one.name,
                    "kind": type(one.layer).__name__,
                    "weights": one.weights,
                    "inputs": one.inputs,
                    "macs": one.macs,
                    "weights_range": [
                        ranges[Key(i, "weights")].low,
                        ranges[Key(i, "weights")].high,
                    ],
                    "data_range": [ranges[Key(i, "data")].low, ranges[Key(i, "data")].high],
                }
                for i, one in enumerate(self.network.layers)
            ],
            **{name: self._rows(results) for name, results in found.items()},
            "accumulators": self._accumulators(best) if best else None,
        }

    def _refuse_guessing(self, least: Callable[..., int]) -> None:
        labels = self.val.labels
        share = float(np.bincount(labels).max() / len(labels))
        hits, needed = round(self.accuracy * len(labels)), least(share, len(labels))
        if hits < needed:
            raise ModelError(
                f"the model does no better than guessing, so fewer bits cost it nothing. Received: "
                f"{hits} of {len(labels)} val images right; at least {needed} are more than a "
                "guess. Give a trained model, and the data that it was trained on"
            )

    def _values(self, key: Key) -> int:
        return self.network.layers[key.layer].values(key.kind)

    def _measure(self, formats: Formats) -> Measured:
        scores = self.network.scores(self.val.images, formats)
        change = np.abs(scores.astype(np.float64) - self.floats)
        return Measured(self.val.accuracy(scores), float(change.sum()))

    def _searched(self, name: str, groups: Sequence[search.Group]) -> dict[float, Found | None]:
        whole = MOST * len(groups)
        self._foretell(len(groups))
        with progress.bar(f"{name} bits", whole) as forward:
            told = paced(lambda note, bits: forward(note, max(1, whole - bits)))
            descent = Descent(groups, self._measure, told)
            return descent.run(self.accuracy, self.asked.tolerances)

    def _foretell(self, groups: int) -> None:
        """Say how long the search takes, if that is long."""
        began = time.monotonic()
        self._measure({})
        seconds = MEASUREMENTS * groups * (time.monotonic() - began)
        if seconds > LONG:
            told = progress.duration(seconds)
            log.info("bits: %d formats to find take about %s; fewer --images less", groups, told)

    def _rows(self, results: dict[float, Found | None]) -> list[dict[str, Any]]:
        return [
            {"tolerance": tolerance} | (self._row(found) if found else {"found": False})
            for tolerance, found in results.items()
        ]

    def _row(self, found: Found) -> dict[str, Any]:
        layers, formats = self.network.layers, found.formats
        pairs = [(formats[Key(i, "weights")], formats[Key(i, "data")]) for i in range(len(layers))]
        weights, data = ([one.bits for one in column] for column in zip(*pairs, strict=True))
        values = [one.weights for one in layers], [one.inputs for one in layers]
        test = self.test.accuracy(self.network.scores(self.test.images, formats))
        return {
            "found": True,
            "val_accuracy": found.measured.accuracy,
            "test_accuracy": test,
            "traffic_ratio": costs.traffic_ratio([*values[0], *values[1]], [*weights, *data]),
            "data_traffic_ratio": costs.traffic_ratio(values[1], data),
            "serial_speedup": costs.serial_speedup([one.macs for one in layers], data),
            "layers": [
                {
                    "name": one.name,
                    "weights": str(pair[0]),
                    "weight_bits": pair[0].bits,
                    "data": str(pair[1]),
                    "data_bits": pair[1].bits,
                }
                for one, pair in zip(layers, pairs, strict=True)
            ],
        }

    def _accumulators(self, found: Found) -> dict[str, Any]:
        """What accumulators the formats of the narrowest tolerance need."""
        count, formats = self.asked.exact_images, found.formats
        images, labels = self.val.images[:count], self.val.labels[:count]
        needs = overflow.needs(self.network, images, formats)
        exact = [i for i, one in enumerate(self.network.layers) if overflow.is_exact(one.layer)]
        rows = [
            {
                "name": one.name,
                "pairs": one.pairs,
                "fraction_bits": one.fractions,
                "any_weights": one.any_weights,
                "weights": one.weights,
                "outputs": one.outputs,
            }
            for one in needs
        ]
        widths = [(bits, mode) for bits in self.asked.accumulators for mode in OVERFLOWS]
        simulated: dict[int, dict[str, Any]] = {
            bits: {"bits": bits} for bits in self.asked.accumulators
        }
        whole = overflow.accuracy(self.network, images, labels, formats, overflow.EXACT)
        with progress.bar("accumulators", max(1, len(widths))) as forward:
            for bits, mode in widths:
                width = Width(bits, mode)
                value = overflow.accuracy(self.network, images, labels, formats, width)
                simulated[bits] |= {mode: value}
                forward(f"{bits} bits, {mode}: {value:.4f}")
        if self.asked.lowest:
            self._add_lowest(rows, exact, (images, labels), formats, NORMAL * whole)
        return {
            "tolerance": found.tolerance,
            "images": len(labels),
            "none": whole,
            "layers": rows,
            "simulated": list(simulated.values()),
            "not_simulated": [
                one.name for i, one in enumerate(self.network.layers) if i not in exact
            ],
        }

    def _add_lowest(
        self,
        rows: list[dict[str, Any]],
        exact: list[int],
        shown: tuple[Array, Array],
        formats: Formats,
        least: float,
    ) -> None:
        with progress.bar("narrowest accumulators", 2 * len(rows)) as forward:
            told, step = paced(forward), 0
            for place, row in zip(exact, rows, strict=True):
                for mode in OVERFLOWS:
                    widest = place, Width(row["outputs"], mode)
                    bits = overflow.lowest(self.network, *shown, formats, widest, least)
                    row[f"lowest_{mode}"] = bits
                    step += 1
                    told(f"{row['name']}, {mode}: {bits} bits", step)


def paced(forward: Callable[..., None]) -> Callable[..., None]:
    """Pass notes on as they come where there is a bar, and elsewhere one in ten seconds."""
    told = time.monotonic()

    def pass_on(*note: Any) -> None:
        nonlocal told
        now = time.monotonic()
        if sys.stderr.isatty() or now - told > progress.LINE_SECONDS:
            told = now
            forward(*note)

    return pass_on
