"""`flopsmith recipes`: every recipe that there is, one a line."""

from collections.abc import Callable
from pathlib import Path

from support.commands import cwd as cwd
from support.commands import told as told

import pipeline

ROOT = Path(pipeline.__file__).parents[1]
RECIPE = "description: Mine\ndata: digits\nbudget: {flops: 9M}\nstages:\n- search: {trials: 1}\n"


def test_recipes_are_listed_one_a_line(told: Callable[..., str]) -> None:
    lines = told("recipes").splitlines()
    names = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))
    assert [line.split()[0] for line in lines] == names
    assert all(len(line.split()) > 3 for line in lines)


def test_recipes_of_the_working_directory_are_listed(cwd: Path, told: Callable[..., str]) -> None:
    (cwd / "recipes").mkdir()
    (cwd / "recipes" / "mine.yaml").write_text(RECIPE)
    assert [line.split() for line in told("recipes").splitlines()].count(["mine", "Mine"]) == 1
