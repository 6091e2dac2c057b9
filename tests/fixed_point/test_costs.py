"""Traffic and ideal speed-up, worked out by hand."""

import pytest

from pipeline.fixed_point import costs


def test_traffic_is_the_mean_of_the_bits_over_32() -> None:
    assert costs.traffic_ratio([100, 300], [8, 4]) == (800 + 1200) / (32 * 400)
    assert costs.traffic_ratio([7], [32]) == 1.0


@pytest.mark.parametrize(
    ("macs", "bits", "expected"),
    [
        # LeNet's convolutions: 24*24*20*25 and 8*8*50*500
        ((288_000, 1_600_000), (3, 3), 5.33),
        ((288_000, 1_600_000), (2, 3), 5.62),  # published: 7.33
        # those of AlexNet
        (
            (105_415_200, 223_948_800, 149_520_384, 112_140_288, 74_760_192),
            (9, 8, 5, 5, 7),
            2.33,  # published: 2.38
        ),
    ],
)
def test_speedup_weighs_bits_by_work(
    macs: tuple[int, ...], bits: tuple[int, ...], expected: float
) -> None:
    assert costs.serial_speedup(macs, bits) == pytest.approx(expected, abs=0.005)
