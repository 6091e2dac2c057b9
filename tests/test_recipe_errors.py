"""Everything wrong with a recipe is said when it is read, with the file and the key."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.recipes import ALONE, HEAD, STAGES
from support.recipes import read as read
from support.recipes import refused as refused

from pipeline import stage
from pipeline.errors import RecipeError
from pipeline.recipe import load


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
    assert "stages.0.search.zzz: unknown key. Known: optimizers, learning_rates" in message


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


# settings that do not go together


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{rotat: 20}", "finetune.augmentation.rotat: unknown key (did you mean 'rotate'?)"),
        ("{rotate: 500}", "finetune.augmentation.rotate: Input should be less than"),
        ("mediun", "finetune.augmentation: Input should be 'none', 'crop'"),
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
