"""Which weights of a kernel stay when the smallest become zero, alone or in a pattern.

A kernel is looked at as the matrix that an input is multiplied by: outputs, positions of the
window, inputs, `[c_out, k, c_in]`.

Source:  single weights, Han et al. 2015, https://arxiv.org/abs/1506.02626; N of every M, Mishra et
         al. 2021, https://arxiv.org/abs/2104.08378; blocks, Narang et al. 2017,
         https://arxiv.org/abs/1711.02782; balanced, Han et al. 2017, section 4.1,
         https://arxiv.org/abs/1612.00694.
"""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.floating]  # [c_out, k, c_in]
Mask = npt.NDArray[np.bool_]  # where weights stay
ROUNDING = 1e-6  # tolerance where a fraction times a count should be a whole number


@dataclass(frozen=True)
class Pattern:
    """Where zeros may be: anywhere, or as the one field says that is set."""

    keep: tuple[int, int] | None = None  # (N, M): N weights of every M inputs of an output
    block: tuple[int, int] | None = None  # outputs x inputs that are zero together
    lanes: int | None = None  # output i is computed by lane i mod lanes; all have equally many

    @classmethod
    def read(cls, text: str) -> "Pattern":
        """Read a pattern as a recipe has it.

        Raises:
            ValueError: there is no such pattern.

        >>> Pattern.read("2:4").keep, Pattern.read("block-4x1").block
        ((2, 4), (4, 1))
        """
        numbers = tuple(int(number) for number in re.findall(r"[1-9]\d*", text))
        match re.sub(r"[1-9]\d*", "n", text), numbers:
            case "unstructured", _:
                return cls()
            case "n:n", (few, many) if few < many:
                return cls(keep=(few, many))
            case "block-nxn", (outputs, inputs):
                return cls(block=(outputs, inputs))
            case "balanced-n", (lanes,):
                return cls(lanes=lanes)
        raise ValueError(
            f"there is no such pattern. Received: {text!r}. Use unstructured, N:M with N < M such "
            "as 2:4, block-4x1 or balanced-4"
        )

    @property
    def sparsity(self) -> float | None:
        """The fraction of zeros that N of M implies; None for other patterns."""
        return 1 - self.keep[0] / self.keep[1] if self.keep else None

    def refusal(self, matrix: Matrix) -> str | None:
        """Why a kernel cannot have the pattern; None if it can."""
        inputs = matrix.shape[2]
        if self.keep and inputs % self.keep[1]:
            return f"its {inputs} inputs are no multiple of {self.keep[1]}"
        return None


SINGLE = Pattern()  # every weight by itself


def mask(matrix: Matrix, sparsity: float, pattern: Pattern = SINGLE) -> Mask:
    """Choose the weights that stay: all but the smallest; zeros stay zeros.

    Args:
        matrix: Weights `[c_out, k, c_in]`.
        sparsity: Fraction of zeros, 0..1, met within one weight, or one block. With N of M, whole
            weights of every M, rounded down.
        pattern: Where zeros may be.

    >>> mask(np.float32([[[3, -1]], [[2, -4]]]), 0.5).tolist()
    [[[True, False]], [[False, True]]]
    >>> mask(np.float32([[[3, -1]], [[2, -4]]]), 0.5, Pattern(block=(1, 2))).tolist()
    [[[False, False]], [[True, True]]]
    """
    sizes = np.abs(matrix)
    if pattern.keep:
        stay = _of_every(sizes, sparsity, pattern.keep[1])
    elif pattern.block:
        stay = _blocks(sizes, sparsity, pattern.block)
    elif pattern.lanes:
        stay = _balanced(sizes, sparsity, pattern.lanes)
    else:
        stay = _largest(sizes, sizes.size - round(sparsity * sizes.size))
    alive: Mask = matrix != 0
    return stay & alive


def cycles(stay: Mask, lanes: int) -> int:
    """Steps of one product with the matrix, if each lane multiplies one weight in each.

    Output `i` is computed by lane `i mod lanes`, and all wait for the one with most weights:
    `max_l sum_{i mod lanes = l} nonzeros(row i)`. Han et al. 2017, figure 4.

    >>> rows = [5, 2, 4, 1]
    >>> cycles(np.array([[[c < count for c in range(5)]] for count in rows]), lanes=4)
    5
    """
    return max(int(np.count_nonzero(stay[lane::lanes])) for lane in range(lanes))


def shares(total: int, capacities: list[int]) -> list[int]:
    """Split `total`, at most the sum of `capacities`, as evenly as they allow.

    >>> shares(12, [5, 5, 5, 5]), shares(10, [2, 9, 9])
    ([3, 3, 3, 3], [2, 4, 4])
    """
    found = [0] * len(capacities)
    smallest_first = sorted(range(len(capacities)), key=capacities.__getitem__)
    for place, lane in enumerate(smallest_first):
        found[lane] = min(capacities[lane], total // (len(capacities) - place))
        total -= found[lane]
    return found


def _largest(sizes: Matrix, count: int) -> Mask:
    """The `count` largest of all."""
    zeros = sizes.size - count
    stay = np.ones(sizes.size, bool)
    if zeros:
        stay[np.argpartition(sizes.reshape(-1), zeros - 1)[:zeros]] = False
    return stay.reshape(sizes.shape)


def _of_every(sizes: Matrix, sparsity: float, many: int) -> Mask:
    """Keep the largest of every so many inputs."""
    groups = sizes.reshape(-1, many)
    smallest = np.argsort(groups, axis=1, kind="stable")[:, : int(sparsity * many + ROUNDING)]
    stay = np.ones(groups.shape, bool)
    np.put_along_axis(stay, smallest, False, axis=1)
    return stay.reshape(sizes.shape)


def _balanced(sizes: Matrix, sparsity: float, lanes: int) -> Mask:
    """Keep the largest of each lane, equally many of each if it has them."""
    stay = np.ones(sizes.shape, bool)
    own = [sizes[lane::lanes] for lane in range(lanes)]
    left = sizes.size - round(sparsity * sizes.size)
    for lane, count in enumerate(shares(left, [weights.size for weights in own])):
        stay[lane::lanes] = _largest(own[lane], count)
    return stay


def _blocks(sizes: Matrix, sparsity: float, block: tuple[int, int]) -> Mask:
    """Keep the blocks with the largest means; those at the edges may be smaller."""
    high, wide = block
    outputs, positions, inputs = sizes.shape
    rows, columns = -(-outputs // high), -(-inputs // wide)
    edges = ((0, rows * high - outputs), (0, 0), (0, columns * wide - inputs))

    def sums(values: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        whole = np.pad(values, edges).reshape(rows, high, positions, columns, wide)
        return np.asarray(whole.sum(axis=(1, 4)))

    counts = sums(np.ones(sizes.shape))
    smallest_first = np.argsort((sums(sizes) / counts).reshape(-1), kind="stable")
    sorted_counts = counts.reshape(-1)[smallest_first]
    middles = np.cumsum(sorted_counts) - sorted_counts / 2
    stay = np.ones(counts.size, bool)
    stay[smallest_first[middles <= sparsity * sizes.size - ROUNDING]] = False
    spread = stay.reshape(counts.shape).repeat(high, axis=0).repeat(wide, axis=2)
    return spread[:outputs, :, :inputs]
