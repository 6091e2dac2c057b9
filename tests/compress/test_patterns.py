"""Masks: the smallest weights go, in whatever pattern they have to."""

import numpy as np
import pytest

from pipeline.compress import patterns
from pipeline.compress.patterns import SINGLE, Mask, Matrix, Pattern


@pytest.fixture
def matrix() -> Matrix:
    """12 outputs, 9 positions, 8 inputs."""
    return np.random.default_rng(0).normal(size=(12, 9, 8)).astype(np.float32)


def zeros(stay: Mask) -> int:
    return int(np.count_nonzero(~stay))


PATTERNS = ["unstructured", "2:4", "1:8", "block-4x1", "block-5x3", "balanced-4", "balanced-5"]


@pytest.mark.parametrize("text", PATTERNS)
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.875, 1.0])
def test_the_sparsity_is_met_within_one_unit(matrix: Matrix, text: str, sparsity: float) -> None:
    pattern = Pattern.read(text)
    unit = np.prod(pattern.block or (1, 1))
    wanted = sparsity * matrix.size
    if pattern.keep:
        wanted = int(sparsity * pattern.keep[1]) * matrix.size / pattern.keep[1]
    assert abs(zeros(patterns.mask(matrix, sparsity, pattern)) - wanted) <= unit


def test_no_weight_that_goes_is_larger_than_one_that_stays(matrix: Matrix) -> None:
    stay = patterns.mask(matrix, 0.6)
    assert np.max(np.abs(matrix[~stay])) <= np.min(np.abs(matrix[stay]))


def test_of_every_four_inputs_the_two_largest_stay(matrix: Matrix) -> None:
    stay = patterns.mask(matrix, 0.5, Pattern.read("2:4")).reshape(-1, 4)
    sizes = np.abs(matrix).reshape(-1, 4)
    assert set(stay.sum(axis=1)) == {2}
    for row, own in zip(sizes, stay, strict=True):
        assert np.max(row[~own]) <= np.min(row[own])


def test_on_the_way_to_two_of_four_every_four_have_one_zero(matrix: Matrix) -> None:
    stay = patterns.mask(matrix, 0.4, Pattern.read("2:4")).reshape(-1, 4)
    assert set(stay.sum(axis=1)) == {3}


def test_blocks_are_zero_as_a_whole_and_by_their_mean() -> None:
    matrix = np.float32([[9, 1, 2, 1.5], [0.1, 1, 2, 0]])[:, None]
    stay = patterns.mask(matrix, 0.5, Pattern(block=(2, 1)))
    assert stay[:, 0].tolist() == [[True, False, True, False]] * 2  # also 0.1, the smallest


def test_blocks_do_not_reach_over_positions() -> None:
    matrix = np.ones((1, 2, 3), np.float32)
    matrix[0, 0] = (5, 5, 0.1)  # the last block of the position is one input wide
    stay = patterns.mask(matrix, 1 / 6, Pattern(block=(1, 2)))
    assert stay.tolist() == [[[True, True, False], [True, True, True]]]


def test_every_lane_has_as_many_weights(matrix: Matrix) -> None:
    matrix[::4] *= 10  # without balance, the first lane would have most of them
    counts = {
        pattern: [int(stay[lane::4].sum()) for lane in range(4)]
        for pattern in (SINGLE, Pattern(lanes=4))
        for stay in [patterns.mask(matrix, 0.7, pattern)]
    }
    assert max(counts[Pattern(lanes=4)]) - min(counts[Pattern(lanes=4)]) <= 1
    assert max(counts[SINGLE]) > 2 * min(counts[SINGLE])


def test_lanes_with_fewer_outputs_have_as_many_weights_while_they_can() -> None:
    matrix = np.random.default_rng(0).normal(size=(10, 1, 16)).astype(np.float32)
    stay = patterns.mask(matrix, 0.5, Pattern(lanes=4))  # 80 of 160, lanes of 48, 48, 32 and 32
    assert [int(stay[lane::4].sum()) for lane in range(4)] == [20] * 4
    stay = patterns.mask(matrix, 0.125, Pattern(lanes=4))  # 140
    assert [int(stay[lane::4].sum()) for lane in range(4)] == [38, 38, 32, 32]


def test_lanes_without_outputs_are_idle() -> None:
    stay = patterns.mask(np.ones((2, 1, 4), np.float32), 0.5, Pattern(lanes=3))
    assert stay.sum(axis=(1, 2)).tolist() == [2, 2]


@pytest.mark.parametrize(("rows", "cycles"), [([5, 2, 4, 1], 5), ([3, 3, 3, 3], 3)])
def test_the_slowest_lane_decides_the_cycles(rows: list[int], cycles: int) -> None:
    """The example of Han et al. 2017, figure 4."""
    stay = np.arange(5) < np.array(rows)[:, None]
    assert patterns.cycles(stay[:, None], lanes=4) == cycles


@pytest.mark.parametrize("text", PATTERNS)
def test_zeros_stay_zeros(matrix: Matrix, text: str) -> None:
    matrix[np.random.default_rng(1).random(matrix.shape) < 0.4] = 0
    stay = patterns.mask(matrix, 0.5, Pattern.read(text))
    assert not np.any(stay[matrix == 0])


@pytest.mark.parametrize("text", PATTERNS)
def test_pruning_again_as_far_changes_nothing(matrix: Matrix, text: str) -> None:
    pattern = Pattern.read(text)
    sparsity = pattern.sparsity or 0.5
    stay = patterns.mask(matrix, sparsity, pattern)
    assert np.array_equal(patterns.mask(matrix * stay, sparsity, pattern), stay)


@pytest.mark.parametrize(
    "text", ["", "blocks", "4:2", "2:2", "0:4", "block-0x1", "block-4", "balanced-0", "balanced"]
)
def test_an_unknown_pattern_is_refused_with_what_there_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"Received: '.*'.*block-4x1"):
        Pattern.read(text)


def test_inputs_that_are_no_multiple_cannot_be_two_of_four(matrix: Matrix) -> None:
    assert "8 inputs" in str(Pattern.read("1:3").refusal(matrix))
    assert Pattern.read("2:4").refusal(matrix) is None
