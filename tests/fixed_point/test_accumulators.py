"""What accumulators need by the published formulas, and what they keep of a sum."""

import itertools

import numpy as np
import pytest

from pipeline.fixed_point import accumulators
from pipeline.fixed_point.accumulators import accumulated, stored
from pipeline.fixed_point.formats import Format


def test_a_worst_case_leaves_the_published_bits() -> None:
    """K = 5 * 5 * 16 = 400 lies between 2**8 and 2**9: 16 + 1 - 9."""
    assert accumulators.budget_of_any_weights(16, 5 * 5 * 16) == 8
    assert accumulators.budget_of_any_weights(32, 1) == 33


@pytest.mark.parametrize("pairs", [1, 3, 8])
def test_no_dot_product_overflows_the_worst_case(pairs: int) -> None:
    """The largest sum with weights of 3 bits (-4..3) and data of 2 bits without a sign (0..3)."""
    weights, data = Format(1, 2), Format(1, 1, signed=False)
    bits = accumulators.for_any_weights(weights, data, pairs)
    sums = [pairs * w * d for w in range(-4, 4) for d in range(4)]
    assert stored(sums, bits, "wrap").tolist() == sums


@pytest.mark.parametrize(("width_w", "width_d", "pairs"), [(4, 4, 400), (8, 8, 9), (3, 9, 1)])
def test_the_worst_case_read_in_both_directions_is_one_formula(
    width_w: int, width_d: int, pairs: int
) -> None:
    bits = accumulators.for_any_weights(Format(1, width_w - 1), Format(2, width_d - 2), pairs)
    assert accumulators.budget_of_any_weights(bits, pairs) == width_w + width_d


@pytest.mark.parametrize("integer_w", [0, 2])
@pytest.mark.parametrize("largest", [0.7, 1.0, 3.5, 8.0])
def test_the_weights_of_a_layer_read_in_both_directions_are_one_formula(
    integer_w: int, largest: float
) -> None:
    """It holds where IL_w is without the sign bit; with it, the two differ by one."""
    weights, data = Format(integer_w + 1, 5), Format(3, 4)
    bits = accumulators.for_weights(weights, data, largest)
    assert accumulators.budget_of_weights(bits, largest, integer_w) == weights.bits + data.bits


def test_no_data_overflow_what_the_weights_of_a_layer_need() -> None:
    """Weights 3, -2 and 1 in steps of 1/4: R = 6 / 4 = 1.5, data of 3 bits, -4..3."""
    row, weights, data = np.array([3, -2, 1]), Format(1, 2), Format(1, 2)
    bits = accumulators.for_weights(weights, data, 1.5)
    sums = [int(row @ values) for values in itertools.product(range(-4, 4), repeat=3)]
    assert stored(sums, bits, "wrap").tolist() == sums
    assert bits == 6  # the largest is 4 * 6 = 24, of 5 bits and a sign
    assert max(map(abs, sums)) > 2**4


def test_weights_of_zero_need_one_bit() -> None:
    assert accumulators.for_weights(Format(1, 2), Format(1, 2), 0.0) == 1


def test_outputs_that_were_measured_leave_these_bits() -> None:
    """FL_w = 7, FL_d = 6, IL_y = 2: BW_acc = 16; IL_w = 0, IL_d = 1: 8 + 8 bits are used."""
    assert accumulators.for_outputs(2 ** (7 + 6 + 2) - 1) == 16
    assert accumulators.budget_of_outputs(16, 2, 0, 1) == 8 + 8
    # outputs smaller than one product: the product has to fit
    assert accumulators.budget_of_outputs(16, -5, 0, 1) == 17


def test_wrapping_and_clipping_keep_what_they_have_room_for() -> None:
    sums = [-9, -8, 7, 8, 23, 24]
    assert stored(sums, 4, "none").tolist() == sums
    assert stored(sums, 4, "wrap").tolist() == [7, -8, 7, -8, 7, -8]
    assert stored(sums, 4, "clip").tolist() == [-8, -8, 7, 7, 7, 7]


def test_clipping_happens_after_each_addition() -> None:
    """7 + 5 saturates at 7, and 7 - 6 = 1; the whole sum, 6, would have fitted."""
    data, weights = np.array([[[7], [5], [-6]]]), np.ones((3, 1, 1), np.int64)
    assert accumulated(data, weights, 4, "clip").item() == 1
    assert accumulated(data, weights, 4, "wrap").item() == 6
    assert accumulated(data, weights, 5, "clip").item() == 6


def test_groups_are_added_up_apart() -> None:
    """Two groups of channels with two filters each."""
    data = np.array([[[1, 10], [2, 20]]])  # one position, two pairs, two groups
    weights = np.array([[[1, 3], [5, 0]], [[1, -1], [0, 7]]])
    found = accumulated(data, weights, 64, "none")
    assert found.tolist() == [[[3, 1], [50, 140]]]
    assert accumulated(data, weights, 4, "clip").tolist() == [[[3, 1], [7, 7]]]


def test_sums_are_exact_beyond_what_float32_holds() -> None:
    data, weights = np.full((1, 1000, 1), 65535), np.full((1000, 1, 1), 32767)
    assert accumulated(data, weights, 64, "none").item() == 1000 * 65535 * 32767
