"""Files of any kind are timed in turns; a speedup has an interval."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from support.small import converted

from pipeline.bench import timing
from pipeline.bench.timing import Pace, Timing

QUICK = Pace(runs=40, seconds=0.2)


def test_every_file_is_timed_on_every_number_of_threads(small: Path, large: Path) -> None:
    found = timing.timings([timing.read(small), timing.read(large)], [1, 2], QUICK)
    assert [[t.threads for t in row] for row in found] == [[1, 2], [1, 2]]
    for one in (t for row in found for t in row):
        assert 0 < one.quantile(0) <= one.median_ms <= one.quantile(0.9)
        assert one.load_ms > 0


def test_files_run_in_the_same_rounds_and_no_more_often_than_asked(
    small: Path, large: Path
) -> None:
    rounds: list[tuple[int, int]] = []
    files = [timing.read(small), timing.read(large)]
    found = timing.timings(files, [1], QUICK, lambda done, total: rounds.append((done, total)))
    shapes = [row[0].times_ms.shape for row in found]
    assert {shape[0] for shape in shapes} == {len(rounds)} == {rounds[-1][1]}
    assert all(shape[0] * shape[1] <= QUICK.runs for shape in shapes)


def test_the_larger_network_is_slower(small: Path, large: Path) -> None:
    (one,), (other,) = timing.timings([timing.read(small), timing.read(large)], [1], QUICK)
    found = timing.speedup(one, other)
    assert 1 < found.low <= found.ratio <= found.high


def timed(times: Any) -> Timing:
    return Timing(1, 1.0, np.asarray(times, np.float64))


def test_a_speedup_is_the_ratio_of_medians_with_an_interval_around_it() -> None:
    rng = np.random.default_rng(0)
    fast, slow = rng.normal(2, 0.1, (20, 30)), rng.normal(5, 0.1, (20, 30))
    found = timing.speedup(timed(fast), timed(slow))
    assert found.ratio == pytest.approx(np.median(slow) / np.median(fast))
    assert found.low < 2.5 < found.high
    assert found.high - found.low < 0.1


def test_rounds_that_disagree_widen_the_interval() -> None:
    even, busy = np.ones((20, 30)), np.repeat([[1.0], [3.0]], 10, 0) * np.ones((20, 30))
    found = timing.speedup(timed(even), timed(busy))
    assert found.low == pytest.approx(1)
    assert found.high == pytest.approx(3)


def test_a_busy_moment_that_falls_on_both_files_leaves_the_ratio() -> None:
    load = np.repeat([1.0, 4.0], [11, 9])[:, None]
    found = timing.speedup(timed(load * np.ones((20, 9))), timed(2 * load * np.ones((20, 9))))
    assert (found.low, found.ratio, found.high) == (2, 2, 2)


@pytest.fixture(scope="module")
def odd(place: Path) -> Path:
    """Words and a mask in, two results out: nothing like an image classifier."""
    table = tf.constant(np.random.default_rng(0).random((50, 8)), tf.float32)

    def function(words: Any, mask: Any, flag: Any) -> dict[str, Any]:
        found = tf.gather(table, words)
        return {"sum": tf.reduce_sum(found * mask, 1), "flag": tf.logical_not(flag)}

    content = converted(
        function,
        tf.TensorSpec((1, 6), tf.int32),
        tf.TensorSpec((1, 6, 1), tf.float32),
        tf.TensorSpec((2,), tf.bool),
    )
    (path := place / "odd.tflite").write_bytes(content)
    return path


def test_a_file_with_several_inputs_of_any_type_is_timed(odd: Path) -> None:
    ((found,),) = timing.timings([timing.read(odd)], [1], QUICK)
    assert found.median_ms > 0


def test_the_activations_of_a_file_are_counted(small: Path) -> None:
    two = 4 * (14 * 14 * 4 + 12 * 12 * 4)  # outputs of both convolutions
    image = 4 * (16 * 16 * 3 + 14 * 14 * 4)
    assert timing.read(small).peak_activation_bytes == max(two, image)
