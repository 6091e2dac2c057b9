"""Architecture families, for tests of each of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import search_spaces

FEW = ("mobilenet", "resnet", "vit")  # unlike each other


def slowly(*names: str, argument: str = "name") -> pytest.MarkDecorator:
    """Run a test for these families, all by default; those that are not in `FEW` with the slow."""
    given = names or search_spaces.families()
    params = [one if one in FEW else pytest.param(one, marks=pytest.mark.slow) for one in given]
    return pytest.mark.parametrize(argument, params)


class Styled:
    """Choices at random, but the cheapest depths: fewer layers of as many kinds."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def Choice(self, name: str, values: Sequence[Any]) -> Any:
        drawn = values[self._rng.integers(len(values))]
        return values[0] if name.startswith("depth") else drawn
