"""What fewer bits save: traffic of weights and data, and the time of bit-serial hardware."""

from collections.abc import Sequence

FLOAT_BITS = 32
SERIAL_BITS = 16


def traffic_ratio(values: Sequence[int], bits: Sequence[int]) -> float:
    """Bits that are moved, over those of 32-bit floats; each value is moved once for an image.

    Source: Judd et al. 2015, table 2, https://arxiv.org/abs/1511.05236.

    Args:
        values: How many numbers there are in each tensor.
        bits: Of each number of it.

    >>> traffic_ratio([100, 300], [8, 4])
    0.15625
    """
    moved = sum(count * width for count, width in zip(values, bits, strict=True))
    return moved / (FLOAT_BITS * sum(values))


def serial_speedup(macs: Sequence[int], bits: Sequence[int]) -> float:
    """How much faster data of so many bits go than 16 bits, one bit at a time: the ideal.

    `sum of MACs x 16 / sum of MACs x bits`, with the bits of the data of each layer.

    Source: Judd et al. 2016, Stripes, https://doi.org/10.1109/MICRO.2016.7783722.

    >>> serial_speedup([288_000, 1_600_000], [3, 3])  # the convolutions of LeNet
    5.333333333333333
    """
    slow = SERIAL_BITS * sum(macs)
    return slow / sum(count * width for count, width in zip(macs, bits, strict=True))
