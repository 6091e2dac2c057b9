"""A first run, the same again, and one with a setting changed: what is done is not done again."""

from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from support.running import TINY, Ended, files, nested, read, run
from support.running import client as client

from pipeline import artifact, recipe
from pipeline.errors import BudgetError

pytestmark = pytest.mark.usefixtures("workplace")


@pytest.fixture(scope="module")
def out(workplace: Path) -> Path:
    return workplace / "runs" / "tiny"


# A chain of runs in one directory: each is made once, in this order.


@pytest.fixture(scope="module")
def first(out: Path, workplace: Path) -> Ended:
    return run(out, read(workplace, TINY))


@pytest.fixture(scope="module")
def again(first: Ended, out: Path, workplace: Path) -> Ended:
    return run(out, read(workplace, TINY))


@pytest.fixture(scope="module")
def changed(again: Ended, out: Path, workplace: Path) -> Ended:
    return run(out, read(workplace, TINY, "finetune.learning_rate=0.002"))


# the first run


def test_every_stage_leaves_an_artifact(first: Ended, out: Path) -> None:
    assert [a.directory.name for a in first.finished] == ["01-search", "02-finetune", "03-report"]
    assert artifact.load_all(out) == first.finished


def test_every_model_is_measured(first: Ended) -> None:
    for done in first.finished[:2]:
        assert {"val_accuracy", "test_accuracy", "flops", "size_bytes"} <= set(done.metrics)
        assert done.metrics["flops"] <= 12_000_000
    assert first.finished[2].metrics == {}


def test_a_stage_starts_from_the_last_one_that_left_a_model(first: Ended) -> None:
    search, finetune, last = first.finished
    assert [search.parent, finetune.parent, last.parent] == [None, "01-search", "02-finetune"]
    assert finetune.arch == search.arch


def test_mlflow_has_a_run_per_recipe_stage_and_trial(first: Ended, client: MlflowClient) -> None:
    stages = nested(client, first.run_id)
    assert sorted(stages) == ["01-search", "02-finetune", "03-report"]
    trials = nested(client, stages["01-search"].info.run_id)
    assert list(trials) == ["trial-0000"]
    for one in (client.get_run(first.run_id), *stages.values(), *trials.values()):
        assert one.info.status == "FINISHED"


def test_the_parent_has_the_final_numbers_and_the_settings(
    first: Ended, client: MlflowClient
) -> None:
    parent = client.get_run(first.run_id).data
    assert parent.metrics["val_accuracy"] == first.finished[1].metrics["val_accuracy"]
    assert parent.params["recipe.name"] == "tiny"
    assert parent.params["budget.flops"] == "12000000"
    assert parent.params["family"] == "resnet"


def test_a_stage_has_its_settings_numbers_and_curves(first: Ended, client: MlflowClient) -> None:
    finetune = nested(client, first.run_id)["02-finetune"]
    assert finetune.data.params["epochs"] == "1"
    assert finetune.data.metrics["size_bytes"] == first.finished[1].metrics["size_bytes"]
    (point,) = client.get_metric_history(finetune.info.run_id, "val/loss")
    assert point.step == 1


def test_mlflow_keeps_the_resolved_recipe_and_the_deliverables(
    first: Ended, client: MlflowClient, tmp_path: Path
) -> None:
    kept = {entry.path for entry in client.list_artifacts(first.run_id, "export")}
    assert kept == {"export/report.html", "export/report.md"}
    text = Path(client.download_artifacts(first.run_id, "recipe.yaml", str(tmp_path))).read_text()
    assert text == recipe.load("tiny.yaml").to_yaml()


def test_the_hint_leads_to_the_run(first: Ended) -> None:
    assert f"/runs/{first.run_id}\n" in first.hint


# the same command again


def test_the_same_command_again_does_nothing_again(first: Ended, again: Ended) -> None:
    assert again.files == first.files
    assert again.finished == first.finished
    assert again.replaced == []


def test_the_same_command_again_says_what_was_done_before(again: Ended) -> None:
    for name in ("search", "finetune", "report"):
        assert [line for line in again.lines if line.startswith(f"{name}: done before")]
    assert not [line for line in again.lines if "started" in line]


def test_a_resumed_run_shows_the_whole_story_in_mlflow(
    first: Ended, again: Ended, client: MlflowClient
) -> None:
    assert again.run_id == first.run_id
    stages = nested(client, again.run_id)
    assert sorted(stages) == ["01-search", "02-finetune", "03-report"]
    assert {stage.data.tags["resumed"] for stage in stages.values()} == {"false"}
    assert list(nested(client, stages["01-search"].info.run_id)) == ["trial-0000"]
    size = first.finished[1].metrics["size_bytes"]
    assert stages["02-finetune"].data.metrics["size_bytes"] == size
    assert client.get_run(again.run_id).data.metrics["size_bytes"] == size
    assert client.get_run(again.run_id).info.status == "FINISHED"
    for run_id in (again.run_id, stages["02-finetune"].info.run_id):
        assert len(client.get_metric_history(run_id, "val_accuracy")) == 1


# a setting of finetune changed


def test_a_changed_setting_redoes_its_stage_and_those_after_it(
    again: Ended, changed: Ended
) -> None:
    kept = {name for name, written in changed.files.items() if again.files.get(name) == written}
    assert kept == {name for name in again.files if name.startswith("01-search")}
    assert [one.fingerprint for one in changed.finished[:1]] == [again.finished[0].fingerprint]
    assert changed.finished[1].settings == again.finished[1].settings


def test_a_changed_setting_says_what_is_done_again(changed: Ended) -> None:
    started = [line.split(":")[0] for line in changed.lines if line.endswith(": started")]
    assert started == ["finetune", "report"]


def test_what_other_settings_left_is_moved_and_not_deleted(
    again: Ended, changed: Ended, out: Path
) -> None:
    for earlier in again.finished[1:]:
        moved = artifact.load(out / "replaced" / f"{earlier.directory.name}-000")
        assert moved is not None
        assert moved.model_copy(update={"directory": earlier.directory}) == earlier
    assert not (out / "replaced" / "01-search-000").exists()


def test_stages_that_were_redone_are_not_marked_as_resumed(
    changed: Ended, client: MlflowClient
) -> None:
    tags = {name: run.data.tags for name, run in nested(client, changed.run_id).items()}
    resumed = {name: tags[name]["resumed"] for name in tags}
    assert resumed == {"01-search": "true", "02-finetune": "false", "03-report": "false"}


def test_a_changed_setting_begins_a_run_that_names_the_earlier_one(
    again: Ended, changed: Ended, client: MlflowClient
) -> None:
    assert changed.run_id != again.run_id
    assert client.get_run(changed.run_id).data.tags["continues"] == again.run_id
    (trial,) = nested(client, nested(client, changed.run_id)["01-search"].info.run_id).values()
    assert trial.info.status == "FINISHED"


# what cannot be run


def test_a_budget_that_is_too_small_leaves_an_earlier_run_as_it_is(
    changed: Ended, out: Path, workplace: Path
) -> None:
    with pytest.raises(BudgetError):
        run(out, read(workplace, TINY, "budget.flops=1000"))
    assert files(out) == changed.files
