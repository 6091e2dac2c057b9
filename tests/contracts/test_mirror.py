"""The tests lie as the modules do: `pipeline/graph/macs.py` has `tests/graph/test_macs.py`.

A package counts as a module: `pipeline/targets/edgetpu/__init__.py` has `tests/targets/
test_edgetpu.py`. A further file of one module says what it is about: `tests/test_recipe_errors.py`
is of `pipeline/recipe.py`. What every file of a folder must keep, and runs through several stages,
is tested in `tests/contracts/` and `tests/chains/`; a contract is named after the module that
states it.
"""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
LINES = 60  # of a module that may go without a test file of its own
FREE = ("contracts", "chains")  # folders of tests that mirror no folder of modules

# Modules without a test file, and why.
UNTESTED = {
    "pipeline.__main__": "commands/test_cli.py runs it as a user does",
    "pipeline.measured": "declares types alone",
}
# Test files that are named after no module, and why.
OF_SEVERAL = {
    "commands/test_cli.py": "what all commands do alike, as a user types them",
    "stages/test_foresee.py": "what several stages refuse before the first of them runs",
}
FILES = sorted(TESTS.rglob("test_*.py"))


def dotted(path: Path) -> str:
    """The name that a module is imported by."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    dotted(path): path
    for folder in ("pipeline", "search_spaces", "flopsmith")
    for path in (ROOT / folder).rglob("*.py")
}


def subjects(test: Path) -> set[str]:
    """The modules that a test file may be named after: those of the longest name that begins it."""
    *folders, name = test.relative_to(TESTS).with_suffix("").parts
    kept = [folder for folder in folders if folder not in FREE]
    words = name.removeprefix("test_").split("_")
    for count in range(len(words), 0, -1):
        path = ".".join([*kept, "_".join(words[:count])])
        if found := {f"pipeline.{path}", f"flopsmith.{path}", path} & set(MODULES):
            return found
    return set()


def tested() -> set[str]:
    """Modules that have a test file or a contract of their name."""
    return {module for test in FILES for module in subjects(test)}


@pytest.mark.parametrize("test", FILES, ids=lambda test: str(test.relative_to(TESTS)))
def test_a_test_file_is_named_after_a_module(test: Path) -> None:
    if test.parent.name not in FREE and str(test.relative_to(TESTS)) not in OF_SEVERAL:
        assert subjects(test)


def test_a_module_of_some_length_has_a_test_file() -> None:
    long = {
        name
        for name, path in MODULES.items()
        if name.startswith("pipeline.") and len(path.read_text().splitlines()) > LINES
    }
    assert sorted(long - tested() - set(UNTESTED)) == []


def test_a_module_with_a_test_is_not_missing() -> None:
    assert set(UNTESTED) & tested() == set()
    assert set(UNTESTED) <= set(MODULES)


def test_every_exception_is_there() -> None:
    assert set(OF_SEVERAL) <= {str(test.relative_to(TESTS)) for test in FILES}


@pytest.mark.parametrize("test", FILES, ids=lambda test: str(test.relative_to(TESTS)))
def test_a_test_file_imports_no_other(test: Path) -> None:
    found = [
        name
        for node in ast.walk(ast.parse(test.read_text()))
        for name in imported(node)
        if any(part.startswith("test_") or part == "tests" for part in name.split("."))
    ]
    assert found == []


def imported(node: ast.AST) -> list[str]:
    """Dotted names that a statement imports, those of `from` included."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module or ''}.{alias.name}" for alias in node.names]
    return []
