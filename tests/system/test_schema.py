"""Checking plain data against a pydantic model: what is said of a fault."""

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from pipeline.errors import RecipeError
from pipeline.system import schema

FILE = Path("mine.yaml")


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    flops: int = 1


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    budget: Inner | None = None


def test_what_fits_becomes_the_model() -> None:
    made = schema.checked(Outer, {"name": "a", "budget": {"flops": 2}}, FILE)
    assert made == Outer(name="a", budget=Inner(flops=2))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({}, "mine.yaml: top.name: missing. Add it"),
        ({"name": "a", "nam": 1}, "mine.yaml: top.nam: unknown key (did you mean 'name'?)"),
        ({"name": "a", "stags": 1}, "mine.yaml: top.stags: unknown key (did you mean 'stages'?)"),
        (
            {"name": "a", "budget": {"flop": 1}},
            "mine.yaml: top.budget.flop: unknown key (did you mean 'flops'?)",
        ),
        (
            {"name": "a", "budget": {"stages": 1}},
            "mine.yaml: top.budget.stages: unknown key. Known: flops",
        ),
    ],
)
def test_a_fault_names_the_file_and_the_key(raw: object, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        schema.checked(Outer, raw, FILE, "top", beside=("stages",))
    assert str(caught.value) == said


def test_a_word_that_is_like_none_lists_the_known() -> None:
    assert schema.close("zzz", ["prune", "slim"]) == ". Known: prune, slim"
    assert schema.close("prone", ["prune", "slim"]) == " (did you mean 'prune'?)"
