"""Recipes from Python: overrides, and what a run returns."""

from pathlib import Path

import pytest

import flopsmith
from pipeline.budget import Budget
from pipeline.errors import RecipeError


def test_a_loaded_recipe_has_its_overrides() -> None:
    loaded = flopsmith.Recipe.load("smoke", {"budget.flops": "8M"})
    assert loaded.budget == Budget(flops=8_000_000)
    with pytest.raises(RecipeError, match="seed"):
        flopsmith.run(loaded, overrides={"seed": 1})


def test_a_recipe_is_run(workplace: Path) -> None:
    (workplace / "mine.yaml").write_text("description: Mine\ndata: digits\nstages: [report]\n")
    results = flopsmith.run("mine.yaml", out=workplace / "there")
    assert results.directory == workplace / "there"
    assert "report.html" in [path.name for path in results.files]
    assert [made.stage for made in results.artifacts] == ["report"]
