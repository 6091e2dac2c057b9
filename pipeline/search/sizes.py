"""The size of the images for a search, where only the budget says how large they can be.

What a network costs grows with the number of its pixels: a budget that is right for images of
32x32 admits no network at 224x224. A size suits if some family has a network of at most half of the
budget there, so that the search has larger ones to choose from as well.
"""

import logging
from collections.abc import Iterator

from pipeline.budget import Budget
from pipeline.data import datasets
from pipeline.data.datasets import DataConfig
from pipeline.errors import BudgetError, ModelError, RecipeError
from pipeline.search.costs import Costs
from pipeline.search.space import Space

STEP, SMALLEST = 16, 32  # pixels per side; images up to the smallest keep their size
ROOM = 2  # times the cheapest network that the budget has to allow
BY_PIXELS = ("flops", "macs", "latency_ms")  # bounds that have to leave room
Size = tuple[int, int]  # (H, W)
log = logging.getLogger("flopsmith")


def chosen(data: DataConfig, seed: int, space: Space, budget: Budget) -> DataConfig:
    """The form of the images, at a size that the budget leaves room for.

    Args:
        data: Where the images are; it names no size.
        seed: Decides which images are looked at.
        space: The families, their choices and targets.
        budget: The bounds.
    """
    some, classes = datasets.sample(data, seed, 1)
    height, width, channels = some.images.shape[1:]
    size = suitable((height, width), channels, len(classes), space, budget)
    if size is None or size == (height, width):
        return data
    bounds = " ".join(f"budget.{key}={most:,}" for key, most in budget.upper.items())
    log.info(
        "search: images of %dx%d become %s, since %s leaves no room for networks on larger ones; "
        "data.image_size and budget change both",
        *(height, width, text(size), bounds),
    )
    return data.model_copy(update={"image_size": size if size[0] != size[1] else size[0]})


def suitable(
    own: Size, channels: int, num_classes: int, space: Space, budget: Budget
) -> Size | None:
    """The largest size up to `own`, and of its proportions, that suits a space and a budget.

    Args:
        own: The size that the images have; it stays if the shorter side is at most `SMALLEST`.
        channels: Of the images.
        num_classes: Of the data.
        space: The families, their choices and targets.
        budget: The bounds.

    Returns:
        The size. If none suits, the largest at which at least one network fits; None if there is
        no such size.
    """
    tight = _with_room(budget)
    for bounds in (tight, budget):
        for size in _sizes(own):
            if _fits((*size, channels), num_classes, space, bounds):
                return size
    return None


def _with_room(budget: Budget) -> Budget:
    """A budget that leaves the other one room for networks that cost more than the cheapest."""
    divided = {
        key: bound // ROOM if isinstance(bound, int) else bound / ROOM
        for key, bound in budget.upper.items()
        if key in BY_PIXELS
    }
    return budget.model_copy(update={**divided, "flops_at_least": None})


def _fits(shape: tuple[int, int, int], num_classes: int, space: Space, bounds: Budget) -> bool:
    """Whether the cheapest network of a family keeps the bounds."""
    costs = Costs(shape, num_classes, bounds)
    for name in space.families:
        try:
            costs.fitting((name,), space.targets, space.cheapest)
        except (BudgetError, ModelError, RecipeError):  # too large, or for no such images
            continue
        return True
    return False


def _sizes(own: Size) -> Iterator[Size]:
    """`own`, and smaller ones of its proportions whose shorter side is a multiple of `STEP`.

    >>> list(_sizes((70, 140)))
    [(70, 140), (64, 128), (48, 96), (32, 64)]
    """
    yield own
    shorter = min(own)
    for side in range((shorter - 1) // STEP * STEP, SMALLEST - 1, -STEP):
        height, width = (max(SMALLEST, round(side * one / shorter / STEP) * STEP) for one in own)
        yield height, width


def setting(size: Size) -> str:
    """A size as `data.image_size` takes it.

    >>> setting((96, 96)), setting((96, 128))
    ('96', '[96,128]')
    """
    height, width = size
    return str(height) if height == width else f"[{height},{width}]"


def text(size: Size) -> str:
    """A size as people write it.

    >>> text((96, 128))
    '96x128'
    """
    return "x".join(map(str, size))
