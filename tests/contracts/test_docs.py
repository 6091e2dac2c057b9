"""The documentation is tested: generated tables are current, its code runs."""

import re
import runpy
import sys
import types
from pathlib import Path

import pytest

from pipeline import recipe
from pipeline.graph import complexity

ROOT = Path(__file__).parents[2]
GENERATE = runpy.run_path(str(ROOT / "docs/generate.py"))


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda p: p.name)
def test_generated_tables_are_up_to_date(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert GENERATE["render"](text) == text, "run: python docs/generate.py"


def test_the_recipe_in_the_documentation_loads(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/recipes.md").read_text(), re.DOTALL)
    path = tmp_path / "documented.yaml"
    path.write_text(block)
    assert [step.name for step in recipe.load(str(path)).stages][-1] == "export"


def test_the_family_in_the_how_to_runs() -> None:
    page = (ROOT / "docs/add-a-search-space.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    name = "search_spaces.tower"
    module = types.ModuleType(name)
    sys.modules[name] = module
    try:
        exec(compile(code, "tower.py", "exec"), module.__dict__)
    finally:
        del sys.modules[name]
    network = module.NETWORKS["tower_small"]
    model = module.build(network.arch, network.input_shape, network.num_classes)
    assert model.output_shape == (None, 10)
    assert complexity.profile(model).macs == 32 * 32 * 27 * 8 + 16 * 16 * 9 * 8 * 16 + 160


def test_every_file_that_the_readme_links_to_exists() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target
