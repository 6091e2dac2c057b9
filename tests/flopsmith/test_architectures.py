"""A search from Python: its budget is checked before anything is trained."""

import pytest

import flopsmith
from pipeline.data.datasets import Dataset
from pipeline.errors import BudgetError, RecipeError


def test_an_unknown_bound_names_the_known(squares: Dataset) -> None:
    with pytest.raises(RecipeError, match=r"budget.*'flop'.*Known: flops"):
        flopsmith.search(squares, budget={"flop": 1})


def test_a_budget_that_nothing_fits_is_refused(squares: Dataset) -> None:
    with pytest.raises(BudgetError, match=r"budget\.flops=10"):
        flopsmith.search(squares, flops=10)
