"""The cost of a network before it is trained, and whether the budget allows it."""

import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline.budget import Budget
from pipeline.errors import BudgetError, ModelError, RecipeError
from pipeline.graph import complexity
from pipeline.system.files import fingerprint, write_atomic
from pipeline.tflite import convert
from pipeline.tflite.classifier import Runner
from search_spaces import family
from search_spaces.base import ArchBase, Cheapest, Deployable, Shape, build, undeployable

log = logging.getLogger("flopsmith")
FILE = "costs.json"
COUNTED = ("macs", "flops", "params", "peak_memory_bytes")
EXPORTED = (
    "tflite_bytes",
    "latency_ms",
)  # costs that are known only after converting, which takes half a second
CALIBRATION_IMAGES = 2
ROUNDS, RUNS, SECONDS, PAUSE_SECONDS = 10, 20, 0.1, 0.02  # of a measurement of latency


class Costs:
    """Counts, converts and times candidates for one data set and budget, each network once."""

    def __init__(
        self,
        image_shape: Shape,
        num_classes: int,
        budget: Budget,
        directory: Path | None = None,
        extra: tuple[str, ...] = (),
    ) -> None:
        """Prepare to count.

        Args:
            image_shape: `(H, W, C)`.
            num_classes: Length of the vector of scores.
            budget: Bounds of the costs.
            directory: Where conversions are remembered, in `costs.json`; None: nowhere.
            extra: Costs that are wanted of every network whether or not the budget bounds them.
        """
        self._for = (image_shape, num_classes)
        self._budget = budget
        self._exports = bool({*EXPORTED} & {*budget.upper, *extra})
        self._file = directory / FILE if directory else None
        self._converted = _read(self._file) if self._file else {}
        # a search draws thousands of networks: their numbers are kept, not their profiles
        self._counted = cache(lambda name, arch: _count(name, arch, *self._for))

    def of(self, name: str, arch: ArchBase) -> dict[str, float]:
        """Count macs, flops, params and peak_memory_bytes of a network of family `name`.

        Raises:
            ModelError: the family cannot take images of that size.
        """
        return dict(zip(COUNTED, self._counted(name, arch)[:-1], strict=True))

    def exported(self, name: str, arch: ArchBase) -> dict[str, float]:
        """Measure tflite_bytes and latency_ms of the int8 file of the untrained network.

        Empty if there is no such file; `refusal` says why.
        """
        found = self._conversion(name, arch)
        return {cost: found[cost] for cost in EXPORTED if cost in found}

    def refusal(self, name: str, arch: ArchBase) -> str | None:
        """Why a network cannot be converted to int8 and run; None if it can."""
        return self._conversion(name, arch).get("error")

    def all_of(self, name: str, arch: ArchBase) -> dict[str, float]:
        """What `of` counts, and what `exported` measures if the budget or `extra` asks for it."""
        return self.of(name, arch) | (self.exported(name, arch) if self._exports else {})

    def broken_by(self, name: str, arch: ArchBase) -> list[str]:
        """Name the bounds that a network breaks, those that are cheap to know first.

        "convertible" stands for a network that cannot be converted although its file is asked for.
        """
        broken = self.surely_broken_by(name, arch)
        if broken or not self._exports:
            return broken
        cost = self.exported(name, arch)
        return self._budget.broken_by(cost) if cost else ["convertible"]

    def surely_broken_by(self, name: str, arch: ArchBase) -> list[str]:
        """Name the bounds that are broken as far as that is known without converting."""
        kernels = self._counted(name, arch)[-1]  # a byte each, or more
        return self._budget.broken_by({**self.of(name, arch), "tflite_bytes": kernels})

    def fitting(
        self,
        families: Iterable[str],
        targets: Sequence[str] = (),
        cheapest: Callable[[str], ArchBase] | None = None,
        smaller: Callable[[], str | None] = lambda: None,
    ) -> tuple[str, ...]:
        """Families that run on every target and whose cheapest network keeps all upper bounds.

        Args:
            families: Names.
            targets: Where the networks are to run.
            cheapest: The cheapest network of a family; None: of all its networks.
            smaller: Called if none fits: a size of images at which some do, as `data.image_size`
                takes it, if there is one.

        Raises:
            RecipeError: none runs on every target; says why.
            BudgetError: none of those fits; says what the cheapest networks need, and which values
                of the budget and of the image size would do.
        """
        why = {name: undeployable(name, targets) for name in families}
        runs = [name for name, reason in why.items() if reason is None]
        if not runs:
            reasons = "; ".join(f"{name} ({reason})" for name, reason in why.items())
            raise RecipeError(f"no family of the search runs on every target. Received: {reasons}")
        if cheapest is None:

            def cheapest(name: str) -> ArchBase:
                arch: ArchBase = family(name).sample(Deployable(Cheapest(), name, targets))
                return arch

        smallest = {name: cheapest(name) for name in runs}
        needs = {name: self._needs(name, arch) for name, arch in smallest.items()}
        if kept := tuple(name for name in runs if not needs[name]):
            return kept
        received = ", ".join(f"budget.{k}={text(v)}" for k, v in self._budget.upper.items())
        listed = "; ".join(f"{name} needs {' and '.join(needs[name])}" for name in sorted(runs))
        size, more = smaller(), self._enough(smallest)
        ways = [f"data.image_size={size}"] * bool(size) + [more] * bool(more)
        raise BudgetError(
            f"no network fits the budget. Received: {received}, for "
            f"{'x'.join(map(str, self._for[0]))} images. "
            f"The cheapest network of each family: {listed}. "
            f"{'Set ' + ', or '.join(ways) if ways else 'Raise the budget'}"
        )

    def _enough(self, networks: Mapping[str, ArchBase]) -> str:
        """The bounds that the cheapest of `networks` needs raised, as settings; empty if none."""
        upper = self._budget.upper
        over = {
            name: {key: self.all_of(name, arch).get(key, 0) / most for key, most in upper.items()}
            for name, arch in networks.items()
            if not (self._exports and self.refusal(name, arch))
        }
        if not over:
            return ""
        least = over[min(over, key=lambda name: max(over[name].values()))]
        return " ".join(
            f"budget.{key}={rounded_up(factor * upper[key])}"
            for key, factor in least.items()
            if factor > 1
        )

    def _needs(self, name: str, arch: ArchBase) -> list[str]:
        """What a network needs and the upper bounds do not allow."""
        cost, upper = self.all_of(name, arch), self._budget.upper
        needs = [
            f"{key}={text(cost[key])} (budget.{key}={text(most)})"
            for key, most in upper.items()
            if key in cost and cost[key] > most
        ]
        if self._exports and (reason := self.refusal(name, arch)):
            needs.append(f"an int8 file, but {reason}")
        return needs

    def _conversion(self, name: str, arch: ArchBase) -> dict[str, Any]:
        key = fingerprint(name, arch.model_dump(mode="json"), *self._for)
        if key not in self._converted:
            self._converted[key] = found = _convert(name, arch, *self._for)
            if "error" in found:
                log.info("a network of %s has no int8 file: %s", name, found["error"])
            if self._file:
                write_atomic(self._file, json.dumps(self._converted, indent=1) + "\n")
        return self._converted[key]


def _count(name: str, arch: ArchBase, image_shape: Shape, num_classes: int) -> tuple[int, ...]:
    """The costs of `COUNTED`, and the parameters of layers that multiply."""
    profile = complexity.count(name, arch, image_shape, num_classes)
    kernels = sum(layer.params for layer in profile.layers if layer.macs)
    return (*(getattr(profile, cost) for cost in COUNTED), kernels)


@cache
def _convert(name: str, arch: ArchBase, image_shape: Shape, num_classes: int) -> dict[str, Any]:
    """Size and latency of a network's int8 file, or why there is none: `{"error": ...}`."""
    model = build(name, arch, image_shape, num_classes)
    _vary(model)
    images = np.random.default_rng(0).uniform(0, 255, (CALIBRATION_IMAGES, *image_shape))
    try:
        content = convert.ptq(model, images)
        runner = Runner(content)
    except ModelError as error:
        return {"error": str(error)}
    size = len(content) + convert.SIGNATURE_BYTES
    return {"tflite_bytes": size, "latency_ms": latency_ms(runner)}


def _vary(model: keras.Model) -> None:
    """Add noise to constant weights, such as new biases: a file stores equal tensors only once."""
    rng = np.random.default_rng(0)
    for variable in model.variables:
        values = np.asarray(variable)
        if keras.backend.is_float_dtype(variable.dtype) and np.ptp(values) == 0:
            variable.assign(values + rng.uniform(-0.1, 0.1, values.shape))


def latency_ms(runner: Runner) -> float:
    """Smallest of several medians, since other work of the machine only adds time."""
    medians = []
    for _ in range(ROUNDS):
        medians.append(runner.latency_ms(runs=RUNS, seconds=SECONDS))
        time.sleep(PAUSE_SECONDS)
    return min(medians)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Conversions of an earlier run; empty if the file is missing or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {
            key: entry
            for key, entry in found.items()
            if "error" in entry or {*EXPORTED} <= {*entry}
        }
    except (FileNotFoundError, AttributeError, TypeError, ValueError):
        return {}


def rounded_up(value: float) -> str:
    """Round a cost up to two digits, as a recipe takes it.

    >>> rounded_up(29_654_400), rounded_up(1_234), rounded_up(0.123), rounded_up(9_960_000)
    ('30M', '1.3k', '0.13', '10M')
    """
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    up = math.ceil(round(value / unit, 6)) * unit
    for scale, suffix in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if up >= scale:
            return f"{up / scale:g}{suffix}"
    return f"{up:g}"


def text(value: float) -> str:
    """Write a cost for people: a count with all its digits, any other number with three."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3g}"
