"""The estimate of a run: arithmetic, and how a range is said."""

import pytest

from pipeline.plan.estimate import Machine, Work, seconds, spoken

MACHINE = Machine(speed=1e9, flops=(1e6, 2e6), images=1000)


def test_more_epochs_images_and_flops_take_longer_and_a_faster_machine_less() -> None:
    least, most = seconds([Work((10, 10), (5, 5))], MACHINE)
    assert least < most
    for slower in (
        seconds([Work((20, 20), (5, 5))], MACHINE),
        seconds([Work((10, 10), (5, 5))] * 2, MACHINE),
        seconds([Work((10, 10), (5, 5))], Machine(1e9, (2e6, 4e6), 1000)),
        seconds([Work((10, 10), (5, 5))], Machine(0.5e9, (1e6, 2e6), 1000)),
        seconds([Work((10, 10), (5, 5))], Machine(1e9, (1e6, 2e6), 2000)),
    ):
        assert slower[0] > least
        assert slower[1] > most


def test_a_run_of_the_recipe_mobile_is_within_its_range() -> None:
    # measured: 936 seconds on two cores for 1,168 images and networks of 1.5M to 6M FLOPs
    search, finetune = Work((42, 50), (117, 175)), Work((20, 30), (5, 10))
    prune, cluster = Work((24, 48), (10, 40)), Work((12, 24), (10, 40))
    quantize = Work((8, 16), (12, 50))
    found = seconds([search, finetune, prune, cluster, quantize], Machine(5e9, (2.4e6, 6e6), 1258))
    assert found[0] < 936 < found[1]
    assert found[1] < 6 * found[0]


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((1, 5), "1 to 2 minutes"),
        ((61, 600), "1 to 10 minutes"),
        ((600, 601), "10 to 11 minutes"),
        ((3600, 7300), "1 to 3 hours"),
    ],
)
def test_a_range_is_said_in_whole_units(ends: tuple[float, float], text: str) -> None:
    assert spoken(*ends) == text
