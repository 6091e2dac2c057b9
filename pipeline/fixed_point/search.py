"""The fewest bits of each tensor that keep the accuracy: a greedy descent, one bit at a time.

Of all bits that could be taken away, the one whose loss changes the scores least for what it saves
goes first, as long as the accuracy holds. The sum of the changes of the scores decides, since the
accuracy on a few hundred images hardly moves with one bit.

Source:  one bit less in the layer where that costs least, Judd et al. 2015,
         https://arxiv.org/abs/1511.05236; sum |y - y'| as what is minimized, layer by layer, de
         Bruin et al. 2020, https://arxiv.org/abs/2004.11783.
"""

import heapq
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.fixed_point.formats import MOST, Format, Part, Range, of_range
from pipeline.fixed_point.network import Formats, Key

PARTS: tuple[Part, ...] = ("fraction", "integer")
MARGIN = 1  # bits more than the fewest that suffice everywhere, from which layers differ


class Measured(NamedTuple):
    """What a network does with some formats."""

    accuracy: float
    change: float  # sum of |y - y'| over all scores, y in float


Measure = Callable[[Formats], Measured]
Note = Callable[[str, int], None]  # what was done, and the bits of all formats


@dataclass(frozen=True)
class Group:
    """Tensors that have one format."""

    keys: tuple[Key, ...]
    range: Range
    values: int  # numbers that are moved for one image


Choice = tuple[Format, ...]  # one per group


@dataclass(frozen=True)
class Found:
    """The fewest bits within a tolerance."""

    tolerance: float
    formats: Formats
    measured: Measured


def expanded(groups: Sequence[Group], choice: Choice) -> dict[Key, Format]:
    """The format of each tensor."""
    pairs = zip(groups, choice, strict=True)
    return {key: one for group, one in pairs for key in group.keys}


class Descent:
    """Takes bits away; goes on from one tolerance to the next wider one.

    Args:
        groups: What gets a format each.
        measure: Tells the accuracy and the change of the scores.
        note: Is told each step.
    """

    def __init__(self, groups: Sequence[Group], measure: Measure, note: Note) -> None:
        self.groups, self._measure, self._note = groups, measure, note
        self._choice: Choice | None = None
        self._now = Measured(0.0, 0.0)

    def run(self, accuracy: float, tolerances: Sequence[float]) -> dict[float, Found | None]:
        """The fewest bits for each relative loss of accuracy, from narrow to wide.

        None: not even 16 bits are within it.
        """
        found: dict[float, Found | None] = {}
        for tolerance in sorted(tolerances):
            least = (1 - tolerance) * accuracy
            if self._choice is None:
                self._start(least)
            if self._choice is None:
                found[tolerance] = None
                continue
            self._descend(least)
            formats = expanded(self.groups, self._choice)
            found[tolerance] = Found(tolerance, formats, self._now)
        return found

    def _start(self, least: float) -> None:
        """Begin with as few bits everywhere as hold the accuracy, and one more."""
        enough = None
        for bits in range(MOST, 1, -1):
            if self._measured(self._evenly(bits)).accuracy < least:
                break
            enough = bits
            self._note(f"{bits} bits everywhere", bits * len(self.groups))
        if enough is not None:
            self._choice = self._evenly(min(MOST, enough + MARGIN))
            self._now = self._measured(self._choice)
            if self._now.accuracy < least:  # more bits are not always better
                self._choice = self._evenly(enough)
                self._now = self._measured(self._choice)

    def _evenly(self, bits: int) -> Choice:
        return tuple(of_range(group.range, bits) for group in self.groups)

    def _measured(self, choice: Choice) -> Measured:
        return self._measure(expanded(self.groups, choice))

    def _descend(self, least: float) -> None:
        """Take bits away until each that is left is needed.

        The price of a move changes with the moves before it, mostly by little: only the cheapest
        one is priced again before it is made.
        """
        order = itertools.count()
        moves = itertools.product(range(len(self.groups)), PARTS)
        queue = [(self._price(*move)[0], next(order), move) for move in moves if self._may(move[0])]
        heapq.heapify(queue)
        while queue:
            _, _, (place, part) = heapq.heappop(queue)
            if not self._may(place):
                continue
            price, choice, measured = self._price(place, part)
            if queue and price > queue[0][0] and measured.accuracy >= least:
                heapq.heappush(queue, (price, next(order), (place, part)))
                if queue[0][2] != (place, part):
                    continue
                heapq.heappop(queue)
            if measured.accuracy < least:
                continue
            self._choice, self._now = choice, measured
            bits = sum(one.bits for one in choice)
            self._note(f"{bits / len(choice):.2f} bits on average", bits)
            heapq.heappush(queue, (price, next(order), (place, part)))

    def _may(self, place: int) -> bool:
        return self._choice is not None and not self._choice[place].fewest

    def _price(self, place: int, part: Part) -> tuple[float, Choice, Measured]:
        """What one bit less costs for each bit that is not moved any more."""
        before = self._choice or ()
        choice = (*before[:place], before[place].less(part), *before[place + 1 :])
        measured = self._measured(choice)
        return (measured.change - self._now.change) / self.groups[place].values, choice, measured


def evenly(keys: Mapping[Key, Range], values: Callable[[Key], int]) -> list[Group]:
    """Two groups: all weights, and all data (uniform fixed point)."""
    found = []
    for kind in ("weights", "data"):
        own = tuple(key for key in keys if key.kind == kind)
        found.append(Group(own, Range.over(keys[key] for key in own), sum(map(values, own))))
    return found


def by_layer(keys: Mapping[Key, Range], values: Callable[[Key], int]) -> list[Group]:
    """A group for the weights and one for the data of each layer (dynamic fixed point)."""
    return [Group((key,), found, values(key)) for key, found in keys.items()]
