"""The documentation is tested: tables are current, paths exist, the code of the how-tos runs."""

import importlib
import re
import runpy
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pytest
from PIL import Image
from support.chain import run, saved

from pipeline import recipe, stage, targets
from pipeline.__main__ import main
from pipeline.data import datasets
from pipeline.data.datasets import DataConfig, Dataset
from pipeline.graph import complexity
from pipeline.search import oracles
from pipeline.tflite import convert
from search_spaces import family, published

ROOT = Path(__file__).parents[2]
GENERATE = runpy.run_path(str(ROOT / "docs/generate.py"))
PAGES = sorted((ROOT / "docs").glob("*.md"))
FRONT = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
DATED = [ROOT / "docs/log.md", *sorted((ROOT / "docs/decisions").glob("*.md"))]  # name old files
OURS = "pipeline|search_spaces|recipes|tests|benchmarks|docs|flopsmith"
BLOCK = re.compile(r"```(?:python|yaml)\n# ([\w/.]+)\n(.*?)```", re.DOTALL)

RECIPE = (
    "description: Mine\ndata: digits\nstages:\n- load: {network: lenet5}\n- shorten: {bits: 2}\n"
)


def each(pages: Iterable[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", pages, ids=lambda page: page.name)


# tables, paths and the page of the architecture


@each(PAGES)
def test_generated_tables_are_up_to_date(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert GENERATE["render"](text) == text, "run: python docs/generate.py"


@each(sorted({*FRONT, *PAGES, *DATED}))
def test_every_file_that_a_page_links_to_exists(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@each(sorted({*FRONT, *PAGES} - {*DATED}))
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    own = {match[1] for match in BLOCK.finditer(text)}  # what the page tells the reader to write
    own |= {f"tests/{'/'.join(p.split('/')[1:-1])}/test_{p.split('/')[-1]}" for p in own}
    for path in re.findall(rf"`((?:{OURS})/[^`\s]*)`", text):
        if "NAME" not in path and path not in own:
            assert (ROOT / path).exists(), path


def drawn() -> dict[str, str]:
    """Lines of the tree on the page of the architecture, by what is in `pipeline/`."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    tree = re.search(r"^pipeline/\n((?:  .*\n)+)", text, re.MULTILINE)
    assert tree
    return dict(line.split(maxsplit=1) for line in tree[1].splitlines())


def test_the_page_of_the_architecture_explains_every_package_and_root_module() -> None:
    places = (ROOT / "pipeline").iterdir()
    packages = {f"{place.name}/" for place in places if (place / "__init__.py").exists()}
    modules = {path.name for path in (ROOT / "pipeline").glob("*.py")} - {"__init__.py"}
    assert set(drawn()) == packages | modules


def test_the_page_of_the_architecture_has_the_import_rule() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    shown = re.search(r"## Who may import whom.*?```\n(.*?)```", text, re.DOTALL)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (rule,) = [one for one in contracts["contracts"] if one["type"] == "layers"]
    layers = [re.split(r"\s*[|:]\s*", layer.replace("pipeline.", "")) for layer in rule["layers"]]
    assert shown
    assert [line.split() for line in shown[1].splitlines()] == layers


def test_the_readme_fits_on_a_page_and_keeps_the_commands_that_ci_runs() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    assert "pip install -e '.[test]' && pytest" in lines


# the code of the pages


def network() -> keras.Model:
    """A dense layer whose weights need 1 to 3 bits."""
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.set_weights([np.array([[0.0], [0.5], [-0.7], [3.2]], np.float32), np.zeros(1)])
    return model


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Write the files that a page shows, each into its package, as a reader would."""
    added: set[str] = set()

    def write(page: str) -> None:
        for path, code in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")):
            place = tmp_path / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(code)
            if place.suffix == ".py":
                package = importlib.import_module(path.rpartition("/")[0].replace("/", "."))
                monkeypatch.setattr(package, "__path__", [*package.__path__, str(place.parent)])
                added.add(f"{package.__name__}.{place.stem}")

    yield write
    for name in added:
        sys.modules.pop(name, None)


def test_the_recipe_in_the_documentation_loads(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/recipes.md").read_text(), re.DOTALL)
    path = tmp_path / "documented.yaml"
    path.write_text(block)
    assert [step.name for step in recipe.load(str(path)).stages][-1] == "export"


def test_the_recipe_for_contributors_loads(written: Callable[[str], None], tmp_path: Path) -> None:
    written("CONTRIBUTING.md")
    steps = recipe.load(str(tmp_path / "recipes/tiny.yaml")).stages
    assert [step.name for step in steps] == ["search", "finetune", "quantize", "export", "report"]


def test_the_family_in_the_how_to_builds_the_network_that_it_names(
    written: Callable[[str], None],
) -> None:
    written("docs/add-a-search-space.md")
    owner, network = published.networks()["tower_small"]
    model = family(owner).build(network.arch, network.input_shape, network.num_classes)
    assert owner == "tower"
    assert model.output_shape == (None, 10)
    assert complexity.profile(model).macs == 32 * 32 * 27 * 8 + 16 * 16 * 9 * 8 * 16 + 160


def test_the_stage_in_the_how_to_runs_and_compresses(
    written: Callable[[str], None], tmp_path: Path, squares: Dataset
) -> None:
    written("docs/add-a-stage.md")
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE)
    (_, step) = (mine := recipe.load(str(path))).stages
    assert (step.config.bits, mine.share(0), mine.share(1)) == (2, None, 1.0)
    made = run("shorten", saved(network(), tmp_path / "before"), squares, tmp_path, bits=2)
    kernel, _ = keras.models.load_model(made.model_path, compile=False).get_weights()
    assert kernel.ravel().tolist() == [0.0, 0.5, -0.75, 3.0]
    rungs = stage.load("shorten").ladder(step.config).rungs
    assert [rung.bits for rung in rungs] == [24, 16, 12, 2]


def test_the_target_in_the_how_to_places_every_operator(written: Callable[[str], None]) -> None:
    written("docs/add-a-target.md")
    verdict = targets.check("my_board", convert.convert_float(network()))
    assert verdict.runs
    assert {op.reason for op in verdict.operators} == {"the NPU reads and writes INT8, not FLOAT32"}


def test_the_target_in_the_how_to_refuses_what_does_not_fit(written: Callable[[str], None]) -> None:
    written("docs/add-a-target.md")
    inputs = keras.Input((400,))
    large = convert.convert_float(keras.Model(inputs, keras.layers.Dense(400)(inputs)))
    verdict = targets.check("my_board", large)
    assert (verdict.runs, verdict.mapped) == (False, 0)
    assert f"the file has {len(large):,} bytes" in str(verdict.refused)


def test_the_data_source_in_the_how_to_is_read(
    written: Callable[[str], None], tmp_path: Path
) -> None:
    written("docs/add-a-data-source.md")
    lines = ["file,class"]
    for number in range(20):
        name, tone = f"{number}.png", 255 * (number % 2)
        Image.new("RGB", (10, 8), (tone, tone, tone)).save(tmp_path / name)
        lines.append(f"{name},{'white' if tone else 'black'}")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    found = datasets.load(DataConfig(source=f"table:{tmp_path / 'table.csv'}", image_size=8), 0)
    assert (found.class_names, found.image_shape) == (("black", "white"), (8, 8, 3))
    assert all(
        found.train.images[i].max() == 255 * found.train.labels[at]
        for at, i in enumerate(found.train.index)
    )


def test_the_oracle_for_contributors_changes_one_choice_of_the_best(
    written: Callable[[str], None], tmp_path: Path
) -> None:
    written("CONTRIBUTING.md")
    space = keras_tuner.HyperParameters()
    for name in ("width", "depth"):
        space.Choice(name, [1, 2, 3, 4, 5, 6, 7, 8])
    oracle = oracles.load("local")(
        space, lambda v: v["width"] * v["depth"] <= 40, tmp_path / "o", trials=4, epochs=1, seed=0
    )
    trials = []
    while trial := oracle.propose():
        values = trial.hyperparameters.values
        trials.append(values)
        oracle.finish(trial, {"val_accuracy": values["width"] / 8, "val_loss": 1.0}, None)
    assert len(trials) == 4
    for number in range(1, 4):
        best = max(trials[:number], key=lambda values: values["width"])
        assert sum(trials[number][key] != best[key] for key in best) == 1
        assert trials[number]["width"] * trials[number]["depth"] <= 40


def test_the_command_for_contributors_prints_the_classes_of_a_file(
    written: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written("CONTRIBUTING.md")
    path = tmp_path / "model.tflite"
    path.write_bytes(convert.convert_float(network()))
    assert main(["labels", str(path)]) == 1
    assert capsys.readouterr().out == "no class names\n"
