"""What a module has to say reaches the user: by one logger, and by no `print`."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("pipeline", "search_spaces", "flopsmith")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
LOGGER = "flopsmith"  # the command line shows it; a logger of another name nobody sees
# What may print: the answers of commands, which go to the standard output, and the errors of all
PRINTS = ("pipeline/commands", "pipeline/__main__.py")


def called(path: Path, name: str) -> list[ast.Call]:
    """The calls of a function or method of that name."""
    calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    return [
        call
        for call in calls
        if getattr(call.func, "attr", None) == name or getattr(call.func, "id", None) == name
    ]


def loggers(path: Path) -> set[str]:
    """What the loggers of a module are called, as it is written there."""
    found = called(path, "getLogger") + called(path, "get_logger")
    return {ast.unparse(call.args[0]) if call.args else "the root" for call in found}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_logs_where_users_see_it(path: Path) -> None:
    if path.name != "__main__.py":  # it also makes other libraries quiet
        assert loggers(path) <= {repr(LOGGER), "noisy"}  # a library that is made quiet


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_commands_print(path: Path) -> None:
    if not str(path.relative_to(ROOT)).startswith(PRINTS):
        assert [call.lineno for call in called(path, "print") if _is_builtin(call)] == []


def _is_builtin(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name)


def test_another_logger_and_a_print_would_be_found(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("import logging\nlog = logging.getLogger(__name__)\nprint(log)\n")
    assert loggers(path) == {"__name__"}
    assert [_is_builtin(call) for call in called(path, "print")] == [True]
