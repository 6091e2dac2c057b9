"""Fixed-point formats Qm.n: two's complement with m bits before the binary point and n behind it.

The sign bit is one of the m. Data that are never negative have no sign bit: UQm.n.

Source:  uniform formats for weights and for data, Judd et al. 2015,
         https://arxiv.org/abs/1511.05236; a format per layer, Gysel et al. 2016,
         https://arxiv.org/abs/1604.03168.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

MOST = 16  # bits that a search begins with
Part = Literal["integer", "fraction"]


@dataclass(frozen=True)
class Range:
    """The least and the largest value that was measured."""

    low: float = 0.0
    high: float = 0.0

    @classmethod
    def of(cls, values: Any) -> "Range":
        """That of an array; 0 always belongs to it."""
        array = np.asarray(values)
        return cls(min(0.0, float(array.min())), max(0.0, float(array.max())))

    @classmethod
    def over(cls, ranges: Iterable["Range"]) -> "Range":
        """The smallest one that holds all of them."""
        every = list(ranges)
        return cls(min(one.low for one in every), max(one.high for one in every))


@dataclass(frozen=True)
class Format:
    """One format; m may be negative (values far below 1), and so may n (steps larger than 1).

    >>> one = Format(1, 3)
    >>> str(one), one.bits, one.step, one.low, one.high
    ('Q1.3', 4, 0.125, -8, 7)
    """

    integer: int  # m
    fraction: int  # n
    signed: bool = True

    @property
    def bits(self) -> int:
        """m + n."""
        return self.integer + self.fraction

    @property
    def magnitude(self) -> int:
        """Bits before the binary point without the sign bit, the IL of the formulas."""
        return self.integer - self.signed

    @property
    def step(self) -> float:
        """The difference of two neighbouring values."""
        return 2.0**-self.fraction

    @property
    def low(self) -> int:
        """The smallest value, in steps."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """The largest value, in steps."""
        return (1 << (self.bits - self.signed)) - 1

    @property
    def fewest(self) -> bool:
        """Whether a bit less would leave a sign alone, or nothing."""
        return self.bits <= 1 + self.signed

    def less(self, part: Part) -> "Format":
        """One bit less: "integer" halves the range, "fraction" doubles the step."""
        if part == "integer":
            return replace(self, integer=self.integer - 1)
        return replace(self, fraction=self.fraction - 1)

    def integers(self, values: Any) -> npt.NDArray[np.int64]:
        """Values in steps, rounded to the nearest (a half to the even one), saturated.

        >>> Format(1, 3).integers([0.3, 0.3125, -2.0, 0.99]).tolist()
        [2, 2, -8, 7]
        """
        steps = np.rint(np.asarray(values, np.float64) * 2.0**self.fraction)
        return np.asarray(np.clip(steps, self.low, self.high)).astype(np.int64)

    def rounded(self, values: Any) -> npt.NDArray[np.float32]:
        """The nearest values that the format has.

        >>> Format(1, 3).rounded([0.3, -2.0]).tolist()
        [0.25, -1.0]
        """
        return np.asarray(self.integers(values) * self.step, np.float32)

    def __str__(self) -> str:
        """As in `Q2.6` and `UQ0.8`."""
        return f"{'' if self.signed else 'U'}Q{self.integer}.{self.fraction}"


def of_range(found: Range, bits: int) -> Format:
    """The format of so many bits whose integer bits are enough for a measured range.

    A power of two itself is saturated by one step: weights in [-1, 1] have one integer bit.

    >>> str(of_range(Range(-0.7, 0.98), 10)), str(of_range(Range(0, 255), 8))
    ('Q1.9', 'UQ8.0')
    >>> str(of_range(Range(-0.1, 0.1), 8)), str(of_range(Range(), 8))
    ('Q-2.10', 'UQ0.8')
    """
    signed = found.low < 0
    most = max(-found.low, found.high)
    integer = (math.ceil(math.log2(most)) if most else 0) + signed
    return Format(integer, bits - integer, signed)
