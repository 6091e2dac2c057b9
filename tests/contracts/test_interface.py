"""The Python interface: a quick import, and an example for every name."""

from pathlib import Path

import pytest
from support.imports import assert_not_imported

import flopsmith

ROOT = Path(flopsmith.__file__).parents[1]


def test_the_import_is_quick_and_loads_nothing_heavy() -> None:
    code = "import flopsmith\nassert set(flopsmith.__all__) == set(dir(flopsmith))"
    assert_not_imported(code, {"tensorflow", "keras", "mlflow", "numpy", "pydantic"})


@pytest.mark.parametrize("name", flopsmith.__all__)
def test_every_name_is_there_and_has_an_example(name: str) -> None:
    assert ">>> " in (getattr(flopsmith, name).__doc__ or "")


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'pruned'"):
        flopsmith.pruned  # noqa: B018
