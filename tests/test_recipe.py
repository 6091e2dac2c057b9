"""Recipes: everything wrong with one is said when it is read, with the file and the key."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import recipe, stage
from pipeline.errors import RecipeError
from pipeline.recipe import Recipe, available, load, parse_overrides

HEAD = "description: A recipe\ndata: digits\nseed: 7\nbudget: {flops: 6M}\ntargets: [mobile_cpu]\n"
STAGES = """stages:
  - search: {trials: 3}
  - finetune: {epochs: 9}
  - prune: {sparsity: 0.5}
  - export
  - report
"""
ALONE = "stages:\n- report\n"
NAMES = [path.stem for path in sorted((Path(__file__).parent.parent / "recipes").glob("*.yaml"))]
Read = Callable[..., Recipe]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a recipe from its text and the words of `--set`."""

    def from_text(text: str, overrides: str = "") -> Recipe:
        (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
        return load(str(tmp_path / "mine.yaml"), parse_overrides(overrides))

    return from_text


@pytest.fixture
def refused(read: Read) -> Callable[..., str]:
    """Read a recipe that cannot be run; what the error says, as one line."""

    def message(text: str, overrides: str = "") -> str:
        with pytest.raises(RecipeError) as caught:
            read(text, overrides)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return message


def settings(loaded: Recipe, name: str) -> Any:
    (found,) = (step.config for step in loaded.stages if step.name == name)
    return found


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


# what is wrong with a recipe


@pytest.mark.parametrize(
    ("text", "key", "suggestion"),
    [
        (HEAD + "sead: 1\n" + STAGES, "sead", "seed"),
        (HEAD + STAGES.replace("stages", "stage") + ALONE, "stage", "stages"),
        (HEAD.replace("flops", "flps") + STAGES, "budget.flps", "flops"),
        (HEAD.replace("digits", "{sorce: digits}") + STAGES, "data.sorce", "source"),
        (HEAD + STAGES.replace("trials", "trails"), "stages.0.search.trails", "trials"),
        (HEAD + STAGES.replace("sparsity", "sparcity"), "stages.2.prune.sparcity", "sparsity"),
        (HEAD + STAGES.replace("finetune", "finetun"), "stages.1", "finetune"),
    ],
)
def test_a_misspelt_key_is_named_with_its_file_and_what_was_meant(
    refused: Callable[..., str], text: str, key: str, suggestion: str
) -> None:
    message = refused(text)
    assert f"mine.yaml: {key}: unknown" in message
    assert f"did you mean '{suggestion}'?" in message


def test_an_unknown_key_that_is_like_none_lists_the_known(refused: Callable[..., str]) -> None:
    message = refused(HEAD + STAGES.replace("trials", "zzz"))
    assert "stages.0.search.zzz: unknown key. Known: oracle, trials, epochs" in message


def test_an_unknown_stage_that_is_like_none_lists_the_known(refused: Callable[..., str]) -> None:
    message = refused(HEAD + "stages: [zzz]")
    assert f"stages.0: unknown stage 'zzz'. Known: {', '.join(stage.names())}" in message


@pytest.mark.parametrize(
    ("stages", "place", "needs", "gets"),
    [
        ("[prune]", "stages.0.prune", "keras", "nothing"),
        ("[report, finetune]", "stages.1.finetune", "keras", "nothing"),
        ("[export]", "stages.0.export", "keras or tflite", "nothing"),
        ("[search, quantize, prune]", "stages.2.prune", "keras", "tflite"),
        ("[search, export, report, cluster]", "stages.3.cluster", "keras", "tflite"),
    ],
)
def test_an_order_that_cannot_work_is_refused(
    refused: Callable[..., str], stages: str, place: str, needs: str, gets: str
) -> None:
    assert f"{place} needs {needs}, but gets {gets}" in refused(f"{HEAD}stages: {stages}")


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


@pytest.mark.parametrize("stages", ["", "stages:", "stages: []", "stages: 5", "stages: {search: }"])
def test_a_recipe_without_a_list_of_stages_is_refused(
    refused: Callable[..., str], stages: str
) -> None:
    assert "mine.yaml: stages: expected a list of stages. Received: " in refused(HEAD + stages)


@pytest.mark.parametrize("entry", ["5", "null", "[search]", "{search: {}, export: {}}", "{}"])
def test_an_entry_that_is_no_stage_is_refused(refused: Callable[..., str], entry: str) -> None:
    message = refused(f"{HEAD}stages: [search, {entry}]")
    assert "mine.yaml: stages.1: expected `name: settings`. Received: " in message


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (HEAD + HEAD + STAGES, "key 'description' is given twice"),
        (HEAD + STAGES.replace("trials: 3", "trials: 3, trials: 4"), "'trials' is given twice"),
        ("description: a: b", "mapping values are not allowed"),
        ("stages: [search", "expected ',' or ']'"),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("\t- a", "cannot start any token"),
    ],
)
def test_what_is_not_yaml_is_refused_with_the_reason(
    refused: Callable[..., str], text: str, what: str
) -> None:
    message = refused(text)
    assert "mine.yaml: not YAML: " in message
    assert what in message


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"description: \xff\xfe")
    with pytest.raises(RecipeError, match=r"mine\.yaml: not YAML"):
        load(str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize("text", ["", "5", "- search", "a recipe"])
def test_yaml_that_is_no_mapping_is_refused(refused: Callable[..., str], text: str) -> None:
    assert "mine.yaml: not a recipe" in refused(text)


@pytest.mark.parametrize(
    ("text", "key", "received"),
    [
        (HEAD.replace("A recipe", "5") + STAGES, "description", "5"),
        (HEAD.replace("7", "seven") + STAGES, "seed", "'seven'"),
        (HEAD.replace("7", "-1") + STAGES, "seed", "-1"),
        (HEAD.replace("6M", "many") + STAGES, "budget.flops", "'many'"),
        (HEAD.replace("{flops: 6M}", "6M") + STAGES, "budget", "'6M'"),
        (HEAD.replace("digits", "[digits]") + STAGES, "data", "['digits']"),
        (HEAD.replace("[mobile_cpu]", "mobile_cpu") + STAGES, "targets", "'mobile_cpu'"),
        (HEAD + STAGES.replace("3", "few"), "stages.0.search.trials", "'few'"),
        (HEAD + STAGES.replace("3", "2.5"), "stages.0.search.trials", "2.5"),
        (HEAD + STAGES.replace("{trials: 3}", "3"), "stages.0.search", "3"),
        (HEAD + STAGES.replace("{trials: 3}", "0"), "stages.0.search", "0"),
        (HEAD + STAGES.replace("0.5", "1.5"), "stages.2.prune.sparsity", "1.5"),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_what_was_received(
    refused: Callable[..., str], text: str, key: str, received: str
) -> None:
    message = refused(text)
    assert f"mine.yaml: {key}: " in message
    assert message.endswith(f"Received: {received}")


@pytest.mark.parametrize("key", ["description", "data"])
def test_a_required_key_that_is_missing_is_named(refused: Callable[..., str], key: str) -> None:
    text = "".join(line for line in HEAD.splitlines(True) if not line.startswith(key))
    assert f"mine.yaml: {key}: missing" in refused(text + STAGES)


def test_an_unknown_kind_of_data_fails_at_reading(refused: Callable[..., str]) -> None:
    message = refused(HEAD.replace("digits", "cifar") + STAGES)
    assert "mine.yaml: data: no such data source. Received: source='cifar'" in message


def test_an_unknown_target_fails_at_reading(refused: Callable[..., str]) -> None:
    message = refused(HEAD.replace("mobile_cpu", "toaster") + STAGES)
    assert "mine.yaml: targets: unknown target 'toaster'. Known: " in message


def test_an_unknown_family_fails_at_reading(refused: Callable[..., str]) -> None:
    message = refused(HEAD + STAGES.replace("trials: 3", "families: [alexandria]"))
    assert "mine.yaml: stages.0.search.families: unknown family" in message


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


# overrides


def test_settings_of_the_command_line_are_read_as_yaml() -> None:
    assert parse_overrides("a=1 b.c=8M  d=[x,y] e= f=a=b g=true h=0.5") == {
        "a": 1,
        "b.c": "8M",
        "d": ["x", "y"],
        "e": None,
        "f": "a=b",
        "g": True,
        "h": 0.5,
    }


@pytest.mark.parametrize("text", ["seed", "=5", "seed 5", "a=[1", "a..b=1", ".a=1", "a.=1", "a=="])
def test_a_setting_that_cannot_be_read_is_shown(text: str) -> None:
    with pytest.raises(RecipeError, match=r"cannot read a setting\. Received: "):
        parse_overrides(text)


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        ("search.trials=40", lambda r: settings(r, "search").trials == 40),
        ("export.calibration_images=5", lambda r: settings(r, "export").calibration_images == 5),
        ("budget.flops=8.2M", lambda r: r.budget.flops == 8_200_000),
        ("budget.params=9k", lambda r: (r.budget.flops, r.budget.params) == (6_000_000, 9000)),
        ("data=npz:a.npz", lambda r: r.data.source == "npz:a.npz"),
        ("data.source=npz:a.npz", lambda r: r.data.source == "npz:a.npz"),
        ("data.image_size=64", lambda r: (r.data.source, r.data.image_size) == ("digits", 64)),
        ("seed=3", lambda r: r.seed == 3),
        ("targets=[]", lambda r: r.targets == ()),
        ("max_accuracy_drop=0.5 seed=1", lambda r: (r.max_accuracy_drop, r.seed) == (0.5, 1)),
    ],
)
def test_a_single_value_is_replaced(
    read: Read, overrides: str, found: Callable[[Recipe], bool]
) -> None:
    assert not found(read(HEAD + STAGES))
    assert found(read(HEAD + STAGES, overrides))


def test_the_other_settings_of_a_stage_are_kept(read: Read) -> None:
    search = settings(read(HEAD + STAGES, "search.epochs=2"), "search")
    assert (search.trials, search.epochs) == (3, 2)


def test_a_setting_of_a_repeated_stage_is_replaced_everywhere(read: Read) -> None:
    loaded = read(f"{HEAD}stages: [search, prune, prune: {{epochs: 5}}]", "prune.sparsity=0.3")
    assert [(s.config.sparsity, s.config.epochs) for s in loaded.stages[1:]] == [(0.3, 6), (0.3, 5)]


def test_a_setting_of_a_mapping_that_is_used_twice_is_replaced_once(read: Read) -> None:
    text = HEAD + "stages:\n- search: &x {epochs: 4}\n- finetune: *x\n"
    loaded = read(text, "finetune.epochs=2")
    assert settings(loaded, "search").epochs == 4


def test_an_override_adds_a_section_that_the_recipe_lacks(read: Read) -> None:
    text = HEAD.replace("budget: {flops: 6M}\n", "") + STAGES
    assert read(text, "budget.flops=2M").budget.flops == 2_000_000


@pytest.mark.parametrize(
    ("overrides", "key", "suggestion"),
    [
        ("sead=1", "--set: unknown key 'sead'", "seed"),
        ("serch.trials=1", "--set: unknown key 'serch'", "search"),
        ("exprt.calibration_images=1", "--set: unknown key 'exprt'", "export"),
        (
            "search.trails=1",
            "mine.yaml with search.trails=1: stages.0.search.trails: unknown",
            "trials",
        ),
        ("export.calibration_image=1", "stages.3.export.calibration_image", "calibration_images"),
        ("budget.flps=1", "mine.yaml with budget.flps=1: budget.flps: unknown key", "flops"),
        (
            "data.sorce=digits",
            "mine.yaml with data.sorce=digits: data.sorce: unknown key",
            "source",
        ),
    ],
)
def test_a_misspelt_override_is_named_with_what_was_meant(
    refused: Callable[..., str], overrides: str, key: str, suggestion: str
) -> None:
    message = refused(HEAD + STAGES, overrides)
    assert key in message
    assert f"did you mean '{suggestion}'?" in message


def test_an_override_of_a_stage_that_the_recipe_lacks_lists_what_it_has(
    refused: Callable[..., str],
) -> None:
    message = refused(HEAD + ALONE, "zzz.epochs=1")
    assert message == (
        "--set: unknown key 'zzz'. Known: "
        "budget, data, description, max_accuracy_drop, report, seed, targets"
    )


def test_an_override_of_a_whole_stage_is_refused(refused: Callable[..., str]) -> None:
    assert "Expected: search.SETTING=value" in refused(HEAD + STAGES, "search=5")


@pytest.mark.parametrize("overrides", ["seed.x=1", "budget.flops.x=1", "data.source.x=1"])
def test_an_override_inside_a_single_value_is_refused(
    refused: Callable[..., str], overrides: str
) -> None:
    assert f"'{overrides[:-2]}' is not a setting" in refused(HEAD + STAGES, overrides)


def test_a_wrong_value_of_an_override_is_named_with_its_key(refused: Callable[..., str]) -> None:
    message = refused(HEAD + STAGES, "search.trials=few")
    assert "stages.0.search.trials: " in message
    assert message.endswith("Received: 'few'")


def test_a_broken_recipe_is_refused_before_its_overrides_are_looked_at(
    refused: Callable[..., str],
) -> None:
    assert "stages: expected a list" in refused(HEAD + "stages: 5", "zzz=1")


# fingerprints


@pytest.fixture
def prints(read: Read) -> Callable[[str], list[str]]:
    return lambda overrides: read(HEAD + STAGES, overrides).fingerprints("1.0", "pixels")


@pytest.mark.parametrize(
    ("overrides", "first"),
    [
        ("search.trials=4", 0),
        ("finetune.epochs=8", 1),
        ("prune.sparsity=0.4", 2),
        ("max_accuracy_drop=0.3", 2),
        ("export.calibration_images=7", 3),
        ("seed=8", 0),
        ("budget.flops=7M", 0),
        ("targets=[]", 0),
    ],
)
def test_a_change_changes_the_fingerprints_from_its_stage_on(
    prints: Callable[[str], list[str]], overrides: str, first: int
) -> None:
    pairs = zip(prints(""), prints(overrides), strict=True)
    assert [before == after for before, after in pairs] == [place < first for place in range(5)]


def test_what_changes_no_result_changes_no_fingerprint(prints: Callable[[str], list[str]]) -> None:
    assert prints("description=Other") == prints("")


def test_a_default_that_is_written_out_changes_no_fingerprint(
    prints: Callable[[str], list[str]],
) -> None:
    epochs = stage.load("search").Config().epochs
    assert prints(f"search.epochs={epochs}") == prints("")


@pytest.mark.parametrize("parts", [("1.1", "pixels"), ("1.0", "other pixels")])
def test_other_code_or_other_pixels_change_every_fingerprint(
    read: Read, prints: Callable[[str], list[str]], parts: tuple[str, str]
) -> None:
    assert not set(read(HEAD + STAGES).fingerprints(*parts)) & set(prints(""))


def test_a_stage_that_is_put_in_front_changes_the_fingerprints_after_it(read: Read) -> None:
    without = read(f"{HEAD}stages: [search, prune, cluster]").fingerprints("1", "x")
    with_it = read(f"{HEAD}stages: [search, finetune, prune, cluster]").fingerprints("1", "x")
    assert with_it[0] == without[0]
    assert not set(with_it[1:]) & set(without[1:])


def test_fingerprints_of_equal_stages_in_a_row_differ(read: Read) -> None:
    prints = read(f"{HEAD}stages: [search, prune, prune]").fingerprints("1", "x")
    assert len(set(prints)) == 3


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{rotat: 20}", "finetune.augmentation.rotat: unknown key (did you mean 'rotate'?)"),
        ("{rotate: 500}", "finetune.augmentation.rotate: Input should be less than"),
        ("mediun", "finetune.augmentation: Input should be 'none', 'light'"),
        ("{randaugment: {magnitud: 1}}", "randaugment.magnitud: unknown key (did you mean"),
    ],
)
def test_a_setting_of_several_kinds_is_told_by_the_kind_that_was_meant(
    refused: Callable[..., str], value: str, said: str
) -> None:
    text = (
        HEAD + f"stages:\n  - load: {{network: lenet5}}\n  - finetune: {{augmentation: {value}}}\n"
    )
    assert said in refused(text)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("{mode: frozen, flip: true}", "no use for flip"),
        ("{mode: frozen, teacher: a.keras}", "no use for teacher"),
        ("{mode: head_then_all, epochs: 1}", "needs 2 epochs"),
    ],
)
def test_a_mode_of_finetune_refuses_what_it_would_ignore(
    refused: Callable[..., str], settings: str, said: str
) -> None:
    text = HEAD + f"stages:\n  - load: {{network: lenet5}}\n  - finetune: {settings}\n"
    assert said in refused(text)


@pytest.mark.parametrize(
    ("stages", "late"),
    [
        ("search, cluster, prune", "prune would undo cluster. Put prune before cluster"),
        ("search, prune, slim", "slim would undo prune"),
        ("search, prune, cluster, factorize", "factorize would undo prune"),
        ("search, cluster, quantize: {precision: int16x8}", "undo cluster. Leave out cluster"),
    ],
)
def test_a_stage_that_would_undo_an_earlier_one_is_refused(
    refused: Callable[..., str], stages: str, late: str
) -> None:
    assert late in refused(f"{HEAD}stages: [{stages}]")


def test_another_file_under_the_same_name_changes_the_fingerprints(
    read: Read, tmp_path: Path
) -> None:
    model = tmp_path / "my.keras"
    text = f"{HEAD}stages: [load: {{model: {model}}}, prune]"
    found = []
    for content in (b"one", b"two", b"one"):
        model.write_bytes(content)
        found.append(read(text).fingerprints("1", "x"))
    assert found[0] == found[2]
    assert not set(found[0]) & set(found[1])
