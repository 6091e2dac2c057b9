"""No file is longer than 300 lines and no function longer than 60; ruff counts the parameters."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINES, FUNCTION_LINES = 300, 60
FOLDERS = ("pipeline", "search_spaces", "flopsmith")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_and_its_functions_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LINES
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)]
    long = [f.name for f in functions if (f.end_lineno or 0) - f.lineno + 1 > FUNCTION_LINES]
    assert long == []
