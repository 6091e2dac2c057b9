"""How many bytes of tensors are alive at once when operators run in a given order."""

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any

Step = tuple[Collection[Hashable], Collection[Hashable]]  # what is read, what is written


def most_alive(steps: Sequence[Step], size: Mapping[Any, int], given: Iterable[Hashable]) -> int:
    """Largest sum of sizes alive at once when steps run one after the other.

    A tensor is alive from the step that writes it to the last that reads it; what is never read
    is a result and stays.

    >>> most_alive([("x", "a"), ("a", "b"), ("ab", "c")], {"x": 9, "a": 2, "b": 3, "c": 4}, "x")
    11
    """
    last = {key: i for i, (read, _) in enumerate(steps) for key in read}
    alive, peak = set(given), 0
    for i, (_, written) in enumerate(steps):
        alive.update(written)
        peak = max(peak, sum(size[key] for key in alive))
        alive = {key for key in alive if last.get(key, len(steps)) > i}
    return peak
