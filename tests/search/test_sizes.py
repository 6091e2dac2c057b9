"""The size of images that a budget leaves a search, and what an error offers in its place."""

import pytest

from pipeline.budget import Budget
from pipeline.errors import BudgetError
from pipeline.search import sizes
from pipeline.search.costs import Costs
from pipeline.search.space import Space

SPACE = Space(("mobilenet", "resnet"), targets=("mobile_cpu",))


def suitable(own: tuple[int, int], **bounds: object) -> tuple[int, int] | None:
    return sizes.suitable(own, 3, 5, SPACE, Budget(**bounds))


@pytest.mark.parametrize(
    ("own", "flops", "size"),
    [
        ((224, 224), "6M", (64, 64)),  # the budget of `recipe=mobile`
        ((224, 224), "8M", (80, 80)),
        ((224, 224), "20M", (128, 128)),
        ((224, 224), "60M", (224, 224)),
        ((64, 64), "6M", (64, 64)),
        ((224, 224), "1G", (224, 224)),
        ((120, 240), "6M", (48, 96)),  # proportions stay
        ((32, 32), "1M", (32, 32)),  # too little room, but the only network
        ((28, 28), "2M", (28, 28)),
        ((224, 224), "1k", None),
    ],
)
def test_the_largest_size_that_leaves_room_in_the_budget(
    own: tuple[int, int], flops: str, size: tuple[int, int] | None
) -> None:
    assert suitable(own, flops=flops) == size


def test_bounds_that_do_not_grow_with_the_image_need_no_room() -> None:
    assert suitable((224, 224), params="7k") == (224, 224)
    assert suitable((224, 224), peak_memory_bytes="100k") == (128, 128)  # of resnet


def test_networks_that_use_too_little_do_not_matter() -> None:
    assert suitable((224, 224), flops="6M", flops_at_least=0.5) == (64, 64)


@pytest.mark.parametrize(
    ("bounds", "ways"),
    [
        ({"flops": "20M"}, r"Set data\.image_size=128, or budget\.flops=30M$"),
        ({"params": "1k"}, r"Set budget\.params=6\.7k$"),
        ({"flops": "20M", "params": "6k"}, r"Set budget\.flops=30M budget\.params=6\.7k$"),
    ],
)
def test_a_budget_that_is_too_small_is_refused_with_values_that_do(
    bounds: dict[str, str], ways: str
) -> None:
    budget, shape = Budget(**bounds), (224, 224, 3)

    def smaller() -> str | None:
        size = sizes.suitable(shape[:2], 3, 5, SPACE, budget)
        return size and sizes.setting(size)

    costs = Costs(shape, 5, budget)
    with pytest.raises(BudgetError, match=ways) as caught:
        costs.fitting(SPACE.families, SPACE.targets, SPACE.cheapest, smaller)
    assert "for 224x224x3 images" in str(caught.value)
