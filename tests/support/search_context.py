"""What a search is given in tests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.budget import Budget
from pipeline.data.datasets import Dataset
from pipeline.stage import Context


@pytest.fixture
def ctx(tmp_path: Path, few_digits: Dataset) -> Context:
    return Context(
        directory=tmp_path / "01-search",
        run_dir=tmp_path,
        name="search",
        fingerprint="",
        data=few_digits,
        seed=0,
        budget=Budget(flops="2M", flops_at_least=0.01),
        targets=(),
        title="",
        recipe_yaml="",
        log=Notes(),  # type: ignore[arg-type]
    )


class Notes:
    """A log that remembers the trials it was told of."""

    def __init__(self) -> None:
        self.trials: list[Mapping[str, Any]] = []

    def trial(self, row: Mapping[str, Any]) -> None:
        self.trials.append(row)
