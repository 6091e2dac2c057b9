"""How many bits each kernel gets: few where the scores of the network change least.

Every kernel is rounded alone, without training, and the change of the scores is measured. Changes
are taken to add up.

Source:  Dong et al. 2019, https://arxiv.org/abs/1905.03696, who rank kernels by curvature instead.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.quantization.kernels import Kernel
from pipeline.quantization.layouts import is_dense
from pipeline.quantization.precisions import Weights
from pipeline.quantization.rounding import METHODS
from pipeline.quantization.simulation import Simulation, may_be_narrow
from pipeline.system import progress

LEVELS: tuple[Weights, ...] = ("int8", "int4", "ternary")  # from many bits to few
BATCH = 100


log = logging.getLogger("flopsmith")


@dataclass(frozen=True)
class Choice:
    """What one kernel costs at each level."""

    weights: int  # of the kernel
    costs: Mapping[Weights, float]  # change of the scores, 0 at the first level


def scan(made: Simulation, images: npt.NDArray[Any]) -> dict[str, Choice]:
    """Round each kernel that may have fewer bits alone; the file has 2 bits for dense ones only.

    Args:
        made: With measured ranges and weights of 8 bits; they are put back.
        images: Raw, [N, H, W, C] in 0..255.

    Returns:
        By name of the kernel, the mean squared change of a score at each level.
    """
    found = {}
    kernels = {kernel: _levels(kernel, made) for kernel in made.kernels.values()}
    kernels = {kernel: levels for kernel, levels in kernels.items() if levels}
    whole = _scores(made, images)
    with progress.bar("bits", len(kernels)) as advance:
        for kernel, levels in kernels.items():
            costs: dict[Weights, float] = {LEVELS[0]: 0.0}
            for level in levels:
                costs[level] = _change(kernel, level, made, images, whole)
            found[kernel.name] = Choice(int(np.prod(kernel.kernel.shape)), costs)
            bits, cost = _bits(levels[0]), costs[levels[0]]
            advance(f"{kernel.name}: scores change by {np.sqrt(cost):.2g} with {bits} bits")
    return found


def _levels(kernel: Kernel, made: Simulation) -> list[Weights]:
    """The levels below 8 bits that a kernel may have."""
    some = LEVELS[1:] if is_dense(kernel.step) else LEVELS[1:2]
    return [level for level in some if may_be_narrow(kernel.step, made.form, level)]


def apply(made: Simulation, images: npt.NDArray[Any], bits: float) -> None:
    """Give each kernel as many bits as it needs, so that a weight has `bits` on average, or fewer.

    Args:
        made: With measured ranges and weights of 8 bits.
        images: Raw, [N, H, W, C] in 0..255, on which kernels are judged.
        bits: Of the kernels that may have fewer than 8.
    """
    choices = scan(made, images)
    found = allocate(choices, bits)
    for kernel in made.kernels.values():
        kernel.form = found.get(kernel.name, kernel.form)
    counts = Counter(_bits(level) for level in found.values())
    told = ", ".join(f"{counts[n]} of {n} bits" for n in sorted(counts, reverse=True))
    weights = sum(choice.weights for choice in choices.values())
    used = sum(_bits(level) * choices[name].weights for name, level in found.items())
    log.info("quantize: kernels: %s; %.2f bits a weight", told or "none", used / max(weights, 1))


def _change(
    kernel: Kernel,
    level: Weights,
    made: Simulation,
    images: npt.NDArray[Any],
    whole: npt.NDArray[Any],
) -> float:
    before, kernel.form = kernel.form, level
    try:
        return float(np.mean((_scores(made, images) - whole) ** 2))
    finally:
        kernel.form = before


def _scores(made: Simulation, images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Computed step by step: what a compiled function of the model does is fixed."""
    parts = (images[i : i + BATCH].astype(np.float32) for i in range(0, len(images), BATCH))
    return np.concatenate([np.asarray(made.model(part, training=False)) for part in parts])


def allocate(choices: Mapping[str, Choice], bits: float) -> dict[str, Weights]:
    """Choose a level for each kernel, so that a weight has `bits` on average, or fewer.

    Beginning with 8 bits everywhere, the step down that changes the scores least for each bit that
    it saves is taken, until enough are saved.

    >>> costs = {"int8": 0.0, "int4": 1.0, "ternary": 5.0}
    >>> cheap = {name: cost / 100 for name, cost in costs.items()}
    >>> allocate({"dear": Choice(10, costs), "cheap": Choice(10, cheap)}, 5.0)
    {'dear': 'int8', 'cheap': 'ternary'}
    """
    found = dict.fromkeys(choices, LEVELS[0])
    most = bits * sum(choice.weights for choice in choices.values())

    def used() -> int:
        return sum(_bits(level) * choices[name].weights for name, level in found.items())

    def price(move: tuple[str, Weights]) -> float:
        name, level = move
        costs, weights = choices[name].costs, choices[name].weights
        saved = (_bits(found[name]) - _bits(level)) * weights
        return (costs[level] - costs[found[name]]) / saved

    while used() > most:
        moves = [
            (name, level)
            for name, now in found.items()
            for level in choices[name].costs
            if _bits(level) < _bits(now)
        ]
        if not moves:
            break
        name, level = min(moves, key=price)
        found[name] = level
    return found


def _bits(level: Weights) -> int:
    return METHODS[level].bits
