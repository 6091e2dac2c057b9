"""Recipes: those of the folder load, and what is written in one is what it says."""

from pathlib import Path

import pytest
import yaml
from support.recipes import HEAD, STAGES, Read, settings
from support.recipes import read as read

from pipeline import recipe, stage
from pipeline.errors import RecipeError
from pipeline.recipe import available, load

NAMES = [path.stem for path in sorted((Path(__file__).parent.parent / "recipes").glob("*.yaml"))]


# the recipes that there are


def test_there_are_recipes_to_test() -> None:
    assert {"mobile", "smoke"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_of_the_folder_loads_by_its_name(name: str) -> None:
    loaded = load(name)
    assert loaded.name == name
    assert loaded.description
    assert loaded.stages


@pytest.mark.parametrize("name", NAMES)
def test_a_resolved_recipe_loads_to_the_same_recipe(name: str, tmp_path: Path) -> None:
    loaded = load(name, {"seed": 5})
    resolved = tmp_path / f"{name}.yaml"
    resolved.write_text(loaded.to_yaml(), encoding="utf-8")
    again = load(str(resolved))
    assert again.to_yaml() == loaded.to_yaml()
    assert again.stages == loaded.stages
    assert again.fingerprints("1", "x") == loaded.fingerprints("1", "x")


def test_a_resolved_recipe_writes_out_every_setting(read: Read) -> None:
    loaded = read(HEAD + STAGES)
    written = yaml.safe_load(loaded.to_yaml())
    assert set(written) == {*recipe.Head.model_fields, "stages"}
    for step, entry in zip(loaded.stages, written["stages"], strict=True):
        assert list(entry) == [step.name]
        assert set(entry[step.name]) == set(type(step.config).model_fields)


def test_an_unknown_recipe_lists_the_known() -> None:
    with pytest.raises(RecipeError) as caught:
        load("mobil")
    assert "Received: 'mobil'" in str(caught.value)
    assert all(name in str(caught.value) for name in NAMES)


@pytest.mark.parametrize("name", ["missing.yaml", "recipes", "", ".", "mobile.txt"])
def test_what_is_neither_a_recipe_nor_a_file_is_unknown(name: str) -> None:
    with pytest.raises(RecipeError, match="unknown recipe"):
        load(name)


@pytest.mark.parametrize("name", ["mine.yaml", "other.yml"])
def test_a_recipe_is_read_from_a_path_and_named_after_the_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(HEAD + STAGES)
    assert load(str(tmp_path / name)).name == Path(name).stem


def test_recipes_of_the_working_directory_are_known_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.yaml").write_text(HEAD + STAGES)
    monkeypatch.chdir(tmp_path)
    assert {"mine", *NAMES} <= set(available())
    assert load("mine").seed == 7


def test_a_recipe_cannot_be_changed(read: Read) -> None:
    with pytest.raises(ValueError, match="frozen"):
        read(HEAD + STAGES).seed = 8  # type: ignore[misc]


# what is written in one


@pytest.mark.parametrize(
    "stages",
    [
        "[search, report, finetune, report]",
        "[search, prune, prune, export]",
        "[search, export, export]",
        "[report]",
    ],
)
def test_stages_may_be_left_out_and_repeated(read: Read, stages: str) -> None:
    loaded = read(f"{HEAD}stages: {stages}")
    assert f"[{', '.join(step.name for step in loaded.stages)}]" == stages


@pytest.mark.parametrize(("written", "flops"), [("6M", 6_000_000), ("4.1M", 4_100_000), (9, 9)])
def test_a_budget_is_written_as_people_write_numbers(
    read: Read, written: object, flops: int
) -> None:
    assert read(HEAD.replace("6M", str(written)) + STAGES).budget.flops == flops


def test_a_source_and_a_mapping_with_a_source_are_the_same_data(read: Read) -> None:
    short = read(HEAD + STAGES)
    long = read(HEAD.replace("digits", "{source: digits}") + STAGES)
    assert short.data == long.data


@pytest.mark.parametrize("entry", ["search", "search:", "search: {}", "search: null"])
def test_a_stage_without_settings_has_the_defaults(read: Read, entry: str) -> None:
    loaded = read(f"{HEAD}stages:\n- {entry}\n")
    assert settings(loaded, "search") == stage.load("search").Config()
