"""The page on the Python interface: its blocks run from top to bottom, in one process."""

import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
PAGE = Path(__file__).parents[2] / "docs/python.md"


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names that the blocks of the page leave; they run in an empty directory."""
    names: dict[str, Any] = {"place": tmp_path_factory.mktemp("notebook")}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(names["place"])
        for number, block in enumerate(blocks, 1):
            exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)
    return names


def test_the_page_leaves_a_smaller_file_that_classifies(left: dict[str, Any]) -> None:
    assert (left["place"] / "model.tflite").read_bytes() == left["int8"].content
    assert left["int8"].metrics["sparsity"] == pytest.approx(0.5, abs=0.1)
    assert left["int8"].metrics["val_accuracy"] > 0.2  # chance is 0.1


def test_the_page_leaves_nothing_else_behind(left: dict[str, Any]) -> None:
    assert [path.name for path in left["place"].iterdir()] == ["model.tflite"]


def test_the_search_of_the_page_keeps_its_budget(left: dict[str, Any]) -> None:
    assert left["trials"][0]["flops"] <= 200_000
    assert left["model"].output_shape == (None, left["data"].num_classes)


def test_every_function_of_the_interface_is_on_the_page() -> None:
    import flopsmith

    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in flopsmith.__all__ if name not in text] == []
