"""Notice that a trained network has its classes in another order than the data.

Folders `0` to `11`, sorted as text, begin 0, 1, 10, 11, 2. A network whose labels were the numbers
is then right about two of them, and about none of the others. Its confusion is still one to one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

CERTAIN = 3.0  # standard deviations that separate a difference from chance
SHARE = 0.5  # of the images of classes that are moved, which an order has to explain
ABOVE_CHANCE = 0.15  # accuracy that an order has to have above the best order of shuffled outputs
SHUFFLES = 20
EXPLAINS = 0.9  # of what the best order explains, so that an order that people sort by is meant
EVIDENCE = 2  # images of a class that another output names, so that its place is certain

Places = npt.NDArray[Any]  # by output of the network: the place of its class in the data


@dataclass(frozen=True)
class Order:
    """Another order of the classes, with which more images are classified correctly."""

    names: tuple[str, ...]  # in the order of the network's scores
    given: tuple[str, ...]  # in the order of the data
    how: str | None  # "sorted by number"; None: found by the confusion of the classes alone
    before: float  # accuracy with the order of the data
    after: float
    doubtful: tuple[str, ...] = ()  # classes whose output is not certain

    def numbered(self, labels: Places) -> Places:
        """Labels of the data as the network numbers its classes."""
        return np.array([self.names.index(name) for name in self.given])[labels]

    def told(self) -> str:
        """What differs, in words."""
        pairs = enumerate(zip(self.names, self.given, strict=True))
        moved = [(place, own, given) for place, (own, given) in pairs if own != given]
        place, own, given = moved[0]
        how = f" ({self.how}: {_shown(self.names)})" if self.how else f" ({_shown(self.names)})"
        return (
            f"its classes are in another order than those of the data: output {place} means "
            f"{own!r}, not {given!r}, and so on for {len(moved)} of {len(self.names)} classes. In "
            f"the order of the network{how} {100 * self.after:.1f}% of the images are right "
            f"instead of {100 * self.before:.1f}%"
        )


def order(outputs: Places, labels: Places, class_names: Sequence[str]) -> Order | None:
    """Find another order of the classes that explains what a network does; None if there is none.

    Orders that people sort by are tried first, then the one that the confusion of the classes
    shows.

    Args:
        outputs: The class of each image by its place among the scores, `[N]`.
        labels: The class of each image by its place in the data, `[N]`.
        class_names: Of the data.
    """
    names = tuple(class_names)
    before = float(np.mean(outputs == labels))
    most = float(np.mean(_assigned(outputs, labels, len(names))[outputs] == labels))
    for how, places in _sorted_otherwise(names).items():
        after = float(np.mean(places[outputs] == labels))
        if after >= EXPLAINS * most and _gained(outputs, labels, places):
            return Order(tuple(names[at] for at in places), names, how, before, after)
    found = one_to_one(outputs, labels, len(names))
    if found is None:
        return None
    right = found[outputs] == labels
    told = np.bincount(labels[right], minlength=len(names))
    moved = np.sort(found[found != np.arange(len(names))])
    doubtful = tuple(names[at] for at in moved if told[at] < EVIDENCE)
    ordered = tuple(names[at] for at in found)
    return Order(ordered, names, None, before, float(right.mean()), doubtful)


def one_to_one(outputs: Places, labels: Places, count: int) -> Places | None:
    """The place in the data of each output, if the confusion is one to one beyond chance.

    Most images of the classes that are moved have the output that is moved to them, and the order
    is better than the best one for outputs that tell nothing. None where the order of the data is
    as good.
    """
    places = _assigned(outputs, labels, count)
    rows = np.isin(labels, places[places != np.arange(count)])
    right = places[outputs] == labels
    if not rows.any() or right[rows].mean() <= SHARE or not _gained(outputs, labels, places):
        return None
    least = _by_chance(outputs, labels, count) + ABOVE_CHANCE
    return places if right.mean() >= least else None


def _gained(outputs: Places, labels: Places, places: Places) -> bool:
    """Whether an order is right about more images than that of the data, beyond chance."""
    right, was = places[outputs] == labels, outputs == labels
    gained, lost = int(np.sum(right & ~was)), int(np.sum(was & ~right))
    return bool(gained - lost > CERTAIN * np.sqrt(gained + lost))


def _assigned(outputs: Places, labels: Places, count: int) -> Places:
    """The order with which most images are right; a class that no image tells of stays."""
    confusion = np.zeros((count, count))
    np.add.at(confusion, (outputs, labels), 1)
    _, places = linear_sum_assignment(-(confusion + 0.5 * np.eye(count)))
    return np.asarray(places)


def _by_chance(outputs: Places, labels: Places, count: int) -> float:
    """The accuracy of the best order, where outputs tell nothing of the labels."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(SHUFFLES):
        mixed = rng.permutation(outputs)
        found.append(float(np.mean(_assigned(mixed, labels, count)[mixed] == labels)))
    return max(found)


def _sorted_otherwise(names: tuple[str, ...]) -> dict[str, Places]:
    """Orders that people have their classes in, where they differ from that of the data."""
    keys: dict[str, list[Any]] = {
        "sorted by number": [_by_number(name) for name in names],
        "sorted by text": list(names),
        "sorted regardless of capital letters": [name.casefold() for name in names],
    }
    found = {
        how: np.array(sorted(range(len(names)), key=key.__getitem__)) for how, key in keys.items()
    }
    found["reversed"] = np.arange(len(names))[::-1]
    return {how: order for how, order in found.items() if list(order) != list(range(len(names)))}


def _by_number(name: str) -> list[tuple[int, int, str]]:
    """A key with which `2` comes before `10`, within names as well."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def _shown(names: Sequence[str]) -> str:
    """The first names of an order."""
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
