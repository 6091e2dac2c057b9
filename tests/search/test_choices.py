"""What a recipe may offer a search of how networks are trained."""

from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.search.choices import Choices


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"learning_rates": [0.1, 0.01]}, "the first value must not be above the second"),
        ({"penalty_strengths": [0.1, 0.01]}, "the first value must not be above the second"),
        ({"learning_rates": [0.1]}, "Field required"),
        ({"flips": []}, "at least 1 item"),
        ({"flips": "sometimes"}, "auto"),
        ({"augmentations": ["heavy"]}, "'none', 'crop', 'light', 'medium' or 'strong'"),
        ({"batch_sizes": [1]}, "greater than or equal to 2"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Choices(**wrong)


@pytest.mark.parametrize("flips", ["auto", (True,), (False, True)])
def test_mirroring_is_decided_or_searched(flips: Any) -> None:
    assert Choices(flips=flips).flips == flips
