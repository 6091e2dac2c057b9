"""Architecture families, for tests of each of them."""

import pytest

import search_spaces

FEW = ("mobilenet", "resnet", "vit")  # unlike each other


def slowly(*names: str, argument: str = "name") -> pytest.MarkDecorator:
    """Run a test for these families, all by default; those that are not in `FEW` with the slow."""
    given = names or search_spaces.families()
    params = [one if one in FEW else pytest.param(one, marks=pytest.mark.slow) for one in given]
    return pytest.mark.parametrize(argument, params)
