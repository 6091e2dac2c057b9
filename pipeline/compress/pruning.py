"""Magnitude pruning: more and more weights become zero while training adapts the others.

Source:  Han et al. 2015, https://arxiv.org/abs/1506.02626; the ramp, Zhu & Gupta 2017,
         https://arxiv.org/abs/1710.01878.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import keras
import numpy as np

from pipeline.compress import patterns
from pipeline.compress.kernels import Kernel
from pipeline.compress.patterns import Pattern
from pipeline.errors import ModelError

# Weights become zero every 10 training steps; in a ramp of fewer than 100 steps 10 times, in one
# of more than 1000 steps 100 times.
EVERY = 10
UPDATES = 100
Fit = Callable[[Sequence[Any]], Any]


@dataclass(frozen=True)
class Round:
    """One round of iterative pruning, which takes each kernel closer to its target."""

    targets: Mapping[str, float]  # fraction of zeros at its end, by name of a kernel
    first: int  # epochs before it
    epochs: int
    ramp: int  # epochs until its zeros are there
    is_last: bool


def rounds(
    kernels: Sequence[Kernel],
    targets: Mapping[str, float],
    count: int,
    epochs: int,
    gradual: bool = True,
) -> list[Round]:
    """Plan several rounds that share the epochs and keep the same share of what is left.

    From sparsity `a` to `b` the sparsity after round `r` of `R` is
    `1 - (1 - a)^(1 - r / R) (1 - b)^(r / R)`. Renda et al. 2020,
    https://arxiv.org/abs/2003.02389, section 3.

    Args:
        kernels: What is pruned.
        targets: Fraction of zeros after the last round, 0..1, by name.
        count: Of rounds.
        epochs: Of all rounds.
        gradual: Whether zeros come in the first half of a round, or all at its start.
    """
    now = {kernel.name: kernel.sparsity for kernel in kernels}
    ends = [epochs * number // count for number in range(count + 1)]
    planned = []
    for number, (first, last) in enumerate(pairwise(ends), 1):
        done = number / count
        goals = {
            name: goal if done == 1 else 1 - (1 - now[name]) ** (1 - done) * (1 - goal) ** done
            for name, goal in targets.items()
        }
        ramp = (last - first) // 2 if gradual else 0
        planned.append(Round(goals, first, last - first, ramp, is_last=done == 1))
    return planned


def ramp(start: float, end: float, step: int, steps: int) -> float:
    """Sparsity at a step: `s_f + (s_i - s_f) (1 - t / T)^3`, Zhu & Gupta 2017, equation 1.

    >>> [ramp(0.0, 0.8, step, 10) for step in (0, 5, 10, 11)]
    [0.0, 0.7000000000000001, 0.8, 0.8]
    """
    left = max(0.0, 1 - step / steps) if steps else 0.0
    return end + (start - end) * left**3


def prune(
    kernels: Sequence[Kernel],
    targets: Mapping[str, float],
    steps: int,
    fit: Fit,
    pattern: Pattern = patterns.SINGLE,
) -> Any:
    """Prune kernels in place to their targets, while their model is trained.

    Weights that are zero already stay zero, so that it may follow an earlier pruning. Afterwards,
    also if training fails, the kernels have the constraints that they had before.

    Args:
        kernels: What is pruned.
        targets: Fraction of zeros at the end, 0..1, by name.
        steps: Training steps until all zeros are there; 0: they are from the first step on.
        fit: Trains the model in place with the callbacks it is given, for more than `steps`
            steps, and may go on from a checkpoint.
        pattern: Where zeros may be.

    Returns:
        What `fit` returns.

    Raises:
        ModelError: training diverged: there are weights that are not finite.
    """
    goals = [(kernel.sparsity, targets[kernel.name]) for kernel in kernels]
    with _held(kernels) as stay:
        made = fit([_Zeros(kernels, stay, goals, steps, pattern)])
    for kernel in kernels:
        if not np.all(np.isfinite(kernel.matrix)):
            raise ModelError(
                "training while pruning came to weights that are not finite. "
                f"Received: layer={kernel.name!r}. Lower learning_rate"
            )
        kernel.keep(patterns.mask(kernel.importance, targets[kernel.name], pattern))
    return made


def in_rounds(
    kernels: Sequence[Kernel],
    planned: Sequence[Round],
    epoch_steps: int,
    fit: Callable[[Round, Sequence[Any]], Mapping[str, list[float]]],
    pattern: Pattern = patterns.SINGLE,
) -> dict[str, list[float]]:
    """Prune kernels in place, round by round: `prune`, `rounds`.

    Args:
        kernels: What is pruned.
        planned: The rounds.
        epoch_steps: Training steps of an epoch.
        fit: Trains the model for the epochs of a round, with the callbacks it is given.
        pattern: Where zeros may be.

    Returns:
        The curves that `fit` returns, one after the other.
    """
    joined: dict[str, list[float]] = {}
    for one in planned:
        steps = one.ramp * epoch_steps
        found = prune(kernels, one.targets, steps, partial(fit, one), pattern)
        joined = {curve: [*joined.get(curve, []), *values] for curve, values in found.items()}
    return joined


@contextmanager
def _held(kernels: Sequence[Kernel]) -> Iterator[list[Any]]:
    """Keep zeros zero in every update while this lasts; yields the masks, which may be changed."""
    before = [kernel.variable.constraint for kernel in kernels]
    stay = [
        keras.Variable(np.asarray(k.variable) != 0, dtype="bool", trainable=False) for k in kernels
    ]
    try:
        for kernel, mask, earlier in zip(kernels, stay, before, strict=True):
            kernel.variable.constraint = _constraint(mask, earlier)
        yield stay
    finally:
        for kernel, earlier in zip(kernels, before, strict=True):
            kernel.variable.constraint = earlier


def _constraint(mask: Any, earlier: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    def constraint(updated: Any) -> Any:
        updated = earlier(updated) if earlier else updated
        return keras.ops.where(mask, updated, keras.ops.zeros_like(updated))

    return constraint


class _Zeros(keras.callbacks.Callback):
    """Makes more weights zero along the ramp."""

    def __init__(
        self,
        kernels: Sequence[Kernel],
        stay: Sequence[Any],
        goals: Sequence[tuple[float, float]],  # sparsity at the start and at the end
        steps: int,
        pattern: Pattern,
    ) -> None:
        super().__init__()
        self._kernels = list(zip(kernels, stay, goals, strict=True))
        self._steps, self._pattern = steps, pattern
        self._every = max(1, min(EVERY, steps // EVERY), steps // UPDATES)
        self._step = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        # the zeros themselves are what a checkpoint keeps of the masks
        self._step = int(self.model.optimizer.iterations)
        for kernel, stay, _ in self._kernels:
            stay.assign(np.asarray(kernel.variable) != 0)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        step = self._step
        self._step += 1
        if step == self._steps or (step < self._steps and step % self._every == 0):
            for kernel, stay, (start, end) in self._kernels:
                sparsity = ramp(start, end, step, self._steps)
                kernel.keep(patterns.mask(kernel.importance, sparsity, self._pattern))
                stay.assign(np.asarray(kernel.variable) != 0)
