"""Choose the channels to remove from a network, so that it keeps a bound on its FLOPs.

Source:  kernel norms as importance, Li et al. 2017, https://arxiv.org/abs/1608.08710; `|gamma|`
         under an L1 penalty, Liu et al. 2017, https://arxiv.org/abs/1708.06519; widths from a
         penalty, then widened alike, Gordon et al. 2018, https://arxiv.org/abs/1711.06798.
"""

import bisect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from pipeline.compress import surgery
from pipeline.compress.rows import kernel_rows
from pipeline.errors import BudgetError
from pipeline.graph.channel_ties import Group
from pipeline.graph.channels import Channels
from pipeline.graph.importance import scaled_norms
from pipeline.graph.walk import calls

NOISE = 0.05  # standard deviation, around 1, of what kernels of doubled channels are multiplied by


@contextmanager
def penalized(model: keras.Model, strength: float) -> Iterator[None]:
    """Add `strength * sum |gamma|` over all batch normalizations to the loss while this lasts.

    Source: Liu et al. 2017, equation 1.
    """
    norms = scaled_norms(model)
    before = [layer.gamma.regularizer for layer in norms]
    for layer in norms:
        layer.gamma.regularizer = keras.regularizers.L1(strength)
    try:
        yield
    finally:
        for layer, regularizer in zip(norms, before, strict=True):
            layer.gamma.regularizer = regularizer


@dataclass(frozen=True)
class _Step:
    """Some classes of one group that are removed together, after those of its steps before."""

    price: float  # what is added to the sum of 1 / S_g^2, per MAC that is saved
    group: Group
    classes: np.ndarray  # int [removed]
    left: int  # classes of the group that stay


def choose(
    channels: Channels, importance: np.ndarray, flops: int, divisor: int, expand: float = 1.0
) -> np.ndarray:
    """Choose which classes stay so that the network has at most `flops`: copies, int [count].

    With `S_g` the share of the importance of a group that is kept, the sum of `1 / S_g^2` over all
    groups is to stay small: what passes through a network passes through every group, so none may
    become a bottleneck. Steps of `divisor` channels, the least important of a group first, go in
    the order of what they add to the sum per MAC that they save: as many as it takes, found by
    bisection on the exact count. Steps that then turn out not to be needed are undone.

    Args:
        channels: Of the model.
        importance: `pipeline.graph.importance.scores(channels, ...)`.
        flops: Most FLOPs of the network.
        divisor: Groups keep a multiple of it; of half of it, and so on, where a group has fewer
            than three times as many channels. None loses its last channels.
        expand: Remove until the network has this many times fewer FLOPs, then make all groups
            wider by one factor, as far as `flops` allows: with what was removed, the most
            important first, and beyond the original width with doubled channels.

    Raises:
        BudgetError: not even the fewest channels keep the bound.
    """
    count = surgery.Count(channels)
    steps = _steps(channels, importance, divisor, count)
    full = np.ones(channels.count, np.int64)
    least = count(_without(full, steps))
    if least > flops // 2:
        raise BudgetError(
            f"the network cannot be made that narrow. Received: flops={flops:,}. With the fewest "
            f"channels it has {2 * least:,}; ask for more, or set a smaller divisor"
        )
    goal = max(int(flops // 2 / expand), least)

    def fits(some: Sequence[_Step]) -> bool:
        return count(_without(full, some)) <= goal

    removed = bisect.bisect_left(range(len(steps)), True, key=lambda n: fits(steps[:n]))
    copies = _without(full, _undone(steps[:removed], fits))
    if expand == 1:
        return copies
    return _widened(channels, importance, copies, divisor, lambda c: count(c) <= flops // 2)


def _steps(
    channels: Channels, importance: np.ndarray, divisor: int, count: surgery.Count
) -> list[_Step]:
    """Everything that can be removed, in the order of its price."""
    full = np.ones(channels.count, np.int64)
    macs = count(full)
    steps = []
    for group in channels.groups:
        one = full.copy()
        one[group.classes[0]] = 0
        saved = macs - count(one)  # by each class, while the rest of the network is as wide
        if not saved:
            continue
        rising = group.classes[np.argsort(importance[group.classes], kind="stable")]
        values = importance[rising] + 1e-9 * max(float(importance[rising].mean()), 1e-30)
        whole, price, first = values.sum(), 0.0, 0
        for left in widths(group, divisor):
            last = len(rising) - left
            lost, rest = values[first:last].sum(), values[first:].sum()
            # a price that falls would put a step before one that has to go first
            cost = (whole / (rest - lost)) ** 2 - (whole / rest) ** 2
            price = max(price, cost / (saved * (last - first)))
            steps.append(_Step(price, group, rising[first:last], left))
            first = last
    return sorted(steps, key=lambda step: step.price)


def widths(group: Group, divisor: int) -> list[int]:
    """Numbers of classes that a group may be left with, fewer than it has, falling.

    >>> widths(Group(("a",), np.arange(28), size=1), divisor=8)
    [24, 16, 8]
    >>> widths(Group(("a",), np.arange(12), size=1), divisor=8)
    [8, 4]
    """
    total = len(group.classes)
    while divisor > 1 and 3 * divisor > total * group.size:
        divisor //= 2
    unit = divisor // math.gcd(divisor, group.size)
    return list(range((total - 1) // unit * unit, 0, -unit))


def _without(copies: np.ndarray, steps: Sequence[_Step]) -> np.ndarray:
    """`copies` after `steps`."""
    copies = copies.copy()
    for step in steps:
        copies[step.classes] = 0
    return copies


def _undone(steps: list[_Step], fits: Callable[[list[_Step]], bool]) -> list[_Step]:
    """`steps` without those that are not needed, of each group from its last one on."""
    kept, closed = list(steps), set()
    for step in reversed(steps):
        rest = [other for other in kept if other is not step]
        if step.group.writers not in closed and fits(rest):
            kept = rest
        else:
            closed.add(step.group.writers)
    return kept


def _widened(
    channels: Channels,
    importance: np.ndarray,
    copies: np.ndarray,
    divisor: int,
    fits: Callable[[np.ndarray], bool],
) -> np.ndarray:
    """`copies` with all groups wider by the largest factor that `fits`, to 1%."""
    best, low, high = copies, 100, 800  # percent
    while high - low > 1:
        middle = (low + high) // 2
        wider = copies.copy()
        for group in channels.groups:
            own = group.classes
            unit = min([*widths(group, divisor), len(own)])  # the others are multiples of it
            doubles = not any(int(number) in channels.rigid for number in own)
            kept = int(copies[own].sum())
            wider[own] = _spread(importance[own], kept, middle, unit, doubles)
        if fits(wider):
            best, low = wider, middle
        else:
            high = middle
    return best


def _spread(
    importance: np.ndarray, kept: int, percent: int, unit: int, doubles: bool
) -> np.ndarray:
    """Copies of the classes of a group that is made wider by a factor, in multiples of `unit`."""
    total = len(importance)
    wanted = max(kept, kept * percent // 100 // unit * unit)
    wanted = wanted if doubles else min(wanted, total)
    spread = np.full(total, wanted // total)
    spread[np.argsort(-importance, kind="stable")[: wanted % total]] += 1
    return spread


def removed(channels: Channels, importance: np.ndarray, copies: np.ndarray) -> dict[str, list[int]]:
    """The channels that go, by the layer that makes them, the least important first.

    Args:
        channels: Of the model.
        importance: Of every class.
        copies: What `choose` gave.
    """
    by_name = {layer.name: id(layer) for layer, _, _ in calls(channels.model)}
    found: dict[str, list[int]] = {}
    for one in sorted(np.flatnonzero(copies == 0), key=lambda one: importance[one]):
        if name := channels.makers.get(int(one)):
            places = np.flatnonzero(channels.writes[by_name[name]] == one)
            found.setdefault(name, []).extend(int(place) for place in places)
    return found


def rows(channels: Channels, narrowed: keras.Model) -> list[dict[str, Any]]:
    """A row per layer with a kernel, as `rows.kernel_rows`, with its channels then and now.

    Args:
        channels: Of the model as it was.
        narrowed: What became of it.
    """
    was = {layer.name: (layer, out.shape[-1]) for layer, _, out in calls(channels.model)}
    now = {layer.name: out.shape[-1] for layer, _, out in calls(narrowed)}
    together = {int(g.classes[0]) for g in channels.groups if len(g.classes) == 1}
    found = []
    for row in kernel_rows(narrowed):
        name = row["layer"]
        layer, before = was.get(name, (None, None))
        classes = [] if layer is None else channels.writes[id(layer)].tolist()
        reason, treatment = f"{now[name]} of {before} channels are left", "slimmed"
        if classes and all(c in channels.fixed for c in classes):
            treatment, reason = "skipped", channels.fixed[classes[0]]
        elif classes and all(c in together or c in channels.fixed for c in classes):
            treatment, reason = "skipped", "its channels are normalized together"
        elif before == now[name]:
            treatment, reason = "kept", "the target is met without it"
        more = {"channels_before": before, "channels_after": now[name]}
        found.append({**row, "treatment": treatment, "reason": reason, **more})
    return found
