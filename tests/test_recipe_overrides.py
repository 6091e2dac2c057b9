"""Settings of the command line: which value they replace, and what is wrong with one."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.recipes import ALONE, HEAD, STAGES, Read, settings
from support.recipes import read as read
from support.recipes import refused as refused

from pipeline.errors import RecipeError
from pipeline.recipe import Recipe, load, parse_overrides


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
        "budget, data, description, max_accuracy_drop, minutes, objective, report, seed, targets"
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


# how long the whole run may take


def test_minutes_of_the_command_decide_over_the_lengths_of_the_file(read: Read) -> None:
    made = read(HEAD + STAGES, "minutes=30 finetune.epochs=5")
    assert made.minutes == 30
    search, finetune = settings(made, "search"), settings(made, "finetune")
    assert search.left_to_time() == {"trials", "epochs"}
    assert finetune.left_to_time() == {"patience"}
    assert finetune.epochs == 5


def test_minutes_of_the_file_leave_what_the_file_says(read: Read) -> None:
    made = read(HEAD + "minutes: 30\n" + STAGES)
    assert settings(made, "search").left_to_time() == {"epochs"}
    assert settings(made, "search").trials == 3
    assert settings(made, "finetune").left_to_time() == {"patience"}


def test_the_resolved_recipe_leaves_to_time_what_was_left_to_it(read: Read, tmp_path: Path) -> None:
    made = read(HEAD + STAGES, "minutes=30")
    (tmp_path / "again.yaml").write_text(made.to_yaml())
    again = load(str(tmp_path / "again.yaml"))
    assert again.minutes == 30
    assert settings(again, "search").left_to_time() == {"trials", "epochs"}
    assert again.fingerprints("1", "data") == made.fingerprints("1", "data")


def test_minutes_are_part_of_what_a_run_is(read: Read) -> None:
    plain, timed = read(HEAD + STAGES), read(HEAD + STAGES, "minutes=30")
    longer = read(HEAD + STAGES, "minutes=31")
    prints = {made.fingerprints("1", "data")[0] for made in (plain, timed, longer)}
    assert len(prints) == 3


@pytest.mark.parametrize("value", ["0", "-1", "soon", ".inf"])
def test_minutes_that_are_no_time_are_refused(refused: Callable[..., str], value: str) -> None:
    assert "minutes: " in refused(HEAD + STAGES, f"minutes={value}")
