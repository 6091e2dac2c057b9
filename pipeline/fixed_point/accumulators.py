"""How many bits the accumulator of a dot product needs, and what happens where it has fewer.

IL are integer bits without the sign bit, FL fraction bits, BW = 1 + IL + FL all bits. A dot product
of K pairs of a weight (`w`) and a value (`d`) is `y`; its accumulator has FL_w + FL_d fraction
bits, so that nothing is rounded in it. Data without a sign bit count as BW = 1 + IL + FL as well.

Source:  de Bruin et al. 2020, Quantization of deep neural networks for accumulator-constrained
         processors, https://arxiv.org/abs/2004.11783.
"""

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.fixed_point.formats import Format

Overflow = Literal["none", "wrap", "clip"]
OVERFLOWS: tuple[Overflow, ...] = ("none", "wrap", "clip")
Integers = npt.NDArray[np.int64]


def budget_of_any_weights(accumulator: int, pairs: int) -> int:
    """BW_w + BW_d that never overflow, whatever the weights and the data are.

    `BW_w + BW_d = BW_acc + 1 - ceil(log2 K)`. Products of the two most negative values are taken
    as one step smaller than they are; no trained layer is made of these alone.

    A kernel of 5x5 over 16 channels and 16 bits leave 8:

    >>> budget_of_any_weights(16, 5 * 5 * 16)
    8
    """
    return accumulator + 1 - math.ceil(math.log2(pairs))


def budget_of_weights(accumulator: int, largest: float, integer_w: int) -> int:
    """BW_w + BW_d that never overflow with the weights that a layer has, whatever the data are.

    `BW_w + BW_d = BW_acc - floor(log2 R) + IL_w`. It holds where IL_w leaves out the sign bit.

    Args:
        accumulator: BW_acc.
        largest: R, the largest sum of |w| of any filter.
        integer_w: IL_w.

    >>> budget_of_weights(16, 3.5, 0)
    15
    """
    return accumulator - math.floor(math.log2(largest)) + integer_w


def budget_of_outputs(accumulator: int, integer_y: int, integer_w: int, integer_d: int) -> int:
    """BW_w + BW_d with which measured outputs fit; other images, and sums on the way, may not.

    `BW_w + BW_d = BW_acc + 1 - max(0, IL_y - (IL_w + IL_d))`: a single product has to fit as well.

    >>> budget_of_outputs(16, 3, 0, 1), budget_of_outputs(16, 0, 0, 1)
    (15, 17)
    """
    return accumulator + 1 - max(0, integer_y - (integer_w + integer_d))


def for_any_weights(weights: Format, data: Format, pairs: int) -> int:
    """BW_acc that is enough whatever the weights and the data are.

    >>> for_any_weights(Format(1, 3), Format(1, 3), 400)  # 4 + 4 bits
    16
    """
    return _product(weights, data) + math.ceil(math.log2(pairs))


def for_weights(weights: Format, data: Format, largest: float) -> int:
    """BW_acc that is enough for the weights that a layer has, whatever the data are.

    >>> for_weights(Format(1, 7), Format(1, 6), 3.5)  # 8 + 7 bits
    16
    """
    if not largest:
        return 1
    return _fractions(weights, data) + data.magnitude + math.floor(math.log2(largest)) + 2


def for_outputs(most: int) -> int:
    """BW_acc that is enough for the outputs that were measured: `FL_w + FL_d + IL_y + 1`.

    Sums on the way to them may overflow; where that wraps, the last one is right all the same.

    Args:
        most: The largest absolute output, in steps of `2**-(FL_w + FL_d)`.

    >>> for_outputs(2**15 - 1), for_outputs(2**15)
    (16, 17)
    """
    return signed_bits(most)


def signed_bits(bound: int) -> int:
    """Bits of the smallest signed integer that holds everything from -bound to bound.

    >>> signed_bits(0), signed_bits(32767), signed_bits(32768), signed_bits(2**31 - 1)
    (1, 16, 17, 32)
    """
    return bound.bit_length() + 1


def stored(sums: Any, bits: int, overflow: Overflow) -> Integers:
    """What an accumulator keeps of whole sums.

    "wrap" drops the bits that it does not have. That is the same whether it happens after every
    addition or at the end; for "clip" it is not: see `accumulated`.

    >>> stored([127, 128, -129, 300], 8, "wrap").tolist()
    [127, -128, 127, 44]
    >>> stored([127, 128, -129, 300], 8, "clip").tolist()
    [127, 127, -128, 127]
    """
    whole = np.asarray(sums, np.int64)
    half = 2 ** (bits - 1)
    if overflow == "none":
        return whole
    if overflow == "clip":
        return np.asarray(np.clip(whole, -half, half - 1))
    return np.asarray((whole + half) % (2 * half) - half)


def accumulated(data: Integers, weights: Integers, bits: int, overflow: Overflow) -> Integers:
    """Dot products of integers, as an accumulator of so many bits adds them up, exactly.

    Args:
        data: `[P, K, G]`: positions, pairs in the order of addition, groups of channels.
        weights: `[K, G, F]`: F filters in each group.
        bits: Of the accumulator, a signed integer.
        overflow: "clip" saturates after each addition.

    Returns:
        `[P, G, F]`.
    """
    if overflow != "clip" or np.max(_sums(abs(data), abs(weights)), initial=0) < 2 ** (bits - 1):
        return stored(_sums(data, weights), bits, overflow)
    found = np.zeros((data.shape[0], *weights.shape[1:]), np.int64)
    for pair, row in enumerate(weights):
        found = stored(found + data[:, pair, :, None] * row, bits, "clip")
    return found


def _sums(data: Integers, weights: Integers) -> Integers:
    """Exact: doubles hold every integer up to 2**53, and 16 x 16 bits leave 21 for the sum."""
    left = data.transpose(2, 0, 1).astype(np.float64)
    right = weights.transpose(1, 0, 2).astype(np.float64)
    return np.asarray(np.matmul(left, right).transpose(1, 0, 2)).astype(np.int64)


def _fractions(weights: Format, data: Format) -> int:
    return weights.fraction + data.fraction


def _product(weights: Format, data: Format) -> int:
    """Bits of one product: the sign, and the magnitudes of both."""
    return 1 + weights.magnitude + data.magnitude + _fractions(weights, data)
