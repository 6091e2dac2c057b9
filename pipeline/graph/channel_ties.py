"""Channels that stand or fall together: numbers for channels, joined to classes by a union-find."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

Labels = np.ndarray  # int [C]: a number per channel, along the last axis of a tensor
Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Group:
    """Classes that the same layers write: they are ranked against each other."""

    writers: tuple[str, ...]  # names of layers, in the order of the model
    classes: np.ndarray  # int [N]
    size: int  # channels of a class in the first writer


@dataclass
class Ties:
    """Numbers of channels, and the classes that they are in (a union-find)."""

    parent: list[int] = field(default_factory=list)
    writer: list[str] = field(default_factory=list)  # layer that a number was made for
    reasons: dict[int, str] = field(default_factory=dict)  # number -> why it has to stay
    rigid: set[int] = field(default_factory=set)

    def new(self, count: int, writer: str) -> Labels:
        """Numbers for channels that a layer makes."""
        first = len(self.parent)
        self.parent += range(first, first + count)
        self.writer += [writer] * count
        return np.arange(first, first + count)

    def stuck(self, count: int, reason: str) -> Labels:
        """Numbers for channels that have to stay."""
        labels = self.new(count, "")
        self.stick(labels, reason)
        return labels

    def stick(self, labels: Labels, reason: str) -> None:
        """Make channels stay."""
        for number in labels.tolist():
            self.reasons.setdefault(number, reason)

    def tie(self, one: Labels, other: Labels) -> None:
        """Make each channel stand or fall with the one in the same place."""
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            self.parent[self.root(b)] = self.root(a)

    def root(self, number: int) -> int:
        """The class of a channel."""
        while self.parent[number] != number:
            self.parent[number] = self.parent[self.parent[number]]
            number = self.parent[number]
        return number

    def roots(self, labels: Labels) -> Labels:
        """The classes of channels."""
        return np.array([self.root(number) for number in labels.tolist()], np.int64)

    def writers(self) -> dict[int, tuple[str, ...]]:
        """Names of the layers that make the channels of every class, in the order of the model."""
        found: dict[int, dict[str, None]] = {}
        for number, name in enumerate(self.writer):
            of_class = found.setdefault(self.root(number), {})
            of_class.update({name: None} if name else {})
        return {root: tuple(names) for root, names in found.items()}

    def groups(self, written: dict[str, Labels]) -> tuple[Group, ...]:
        """Classes that may go, by the layers that write them; `written` is by layer."""
        fixed = {self.root(number) for number in self.reasons}
        sets: dict[tuple[str, ...], list[int]] = {}
        for root, names in self.writers().items():
            if names and root not in fixed:
                sets.setdefault(names, []).append(root)
        return tuple(
            Group(names, np.array(roots), int(np.sum(written[names[0]] == roots[0])))
            for names, roots in sets.items()
        )


@dataclass(frozen=True)
class Call:
    """One call of one layer; shapes are with the batch dimension."""

    layer: Any
    reads: list[Labels]
    into: list[Shape]
    output: Any

    @property
    def out(self) -> Shape:
        """Shape of the output."""
        return tuple(self.output.shape)

    @property
    def has_weights(self) -> bool:
        """Whether the layer is more than a function."""
        return bool(getattr(self.layer, "weights", None))
