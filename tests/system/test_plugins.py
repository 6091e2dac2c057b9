"""Plugins: a file in a package is found by its name, and by nothing else."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import RecipeError
from pipeline.system import plugins


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package with two plugins, one of them a folder, and a module that they share."""
    place = tmp_path / "trees"
    (place / "birch").mkdir(parents=True)
    for name in ("__init__", "ash", "shared", "birch/__init__"):
        (place / f"{name}.py").write_text(f"SAYS = {name!r}\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "trees"
    for name in [name for name in sys.modules if name.split(".")[0] == "trees"]:
        del sys.modules[name]


def test_files_and_folders_are_plugins_except_what_they_share(package: str) -> None:
    assert plugins.names(package, ("shared",)) == ("ash", "birch")
    assert plugins.load(package, "birch", "tree").SAYS == "birch/__init__"


def test_names_imports_none_of_them(package: str) -> None:
    plugins.names(package)
    assert "trees.ash" not in sys.modules


@pytest.mark.parametrize("name", ["oak", "shared", "ash.x", ""])
def test_an_unknown_name_is_an_error_that_lists_the_known(package: str, name: str) -> None:
    with pytest.raises(RecipeError, match=rf"tree.*{name!r}.*ash, birch"):
        plugins.load(package, name, "tree", ("shared",))
