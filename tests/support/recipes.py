"""Recipes made of text, and read with the words of `--set`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import RecipeError
from pipeline.recipe import Recipe, load, parse_overrides

HEAD = "description: A recipe\ndata: digits\nseed: 7\nbudget: {flops: 6M}\ntargets: [mobile_cpu]\n"
STAGES = """stages:
  - search: {trials: 3}
  - finetune: {epochs: 9}
  - prune: {sparsity: 0.5}
  - export
  - report
"""
ALONE = "stages:\n- report\n"
Read = Callable[..., Recipe]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a recipe from its text and the words of `--set`."""

    def from_text(text: str, overrides: str = "") -> Recipe:
        (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
        return load(str(tmp_path / "mine.yaml"), parse_overrides(overrides))

    return from_text


@pytest.fixture
def refused(read: Read) -> Callable[..., str]:
    """Read a recipe that cannot be run; what the error says, as one line."""

    def message(text: str, overrides: str = "") -> str:
        with pytest.raises(RecipeError) as caught:
            read(text, overrides)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return message


def settings(loaded: Recipe, name: str) -> Any:
    (found,) = (step.config for step in loaded.stages if step.name == name)
    return found
