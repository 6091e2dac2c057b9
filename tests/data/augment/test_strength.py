"""Strengths of augmentation: presets grow, and a mapping is checked."""

import itertools
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.data.augment.strength import STRENGTHS, Strength


def test_strengths_grow() -> None:
    growing = ("none", "light", "medium", "strong")
    changes = [[size or 0 for size in STRENGTHS[name].model_dump().values()] for name in growing]
    for weaker, stronger in itertools.pairwise(changes):
        assert all(a <= b for a, b in zip(weaker, stronger, strict=True))
        assert weaker != stronger


@pytest.mark.parametrize(
    "mapping",
    [
        {"blur": 1},
        {"crop": 0},
        {"randaugment": {"operations": 0}},
        {"mixup": -1},
        {"shift": 1},
        {"pad_crop": 1.5},
    ],
)
def test_a_mapping_with_an_error_is_refused(mapping: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Strength.model_validate(mapping)
