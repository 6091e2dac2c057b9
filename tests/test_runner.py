"""The loop: what is done is not done again, what changed is, and nothing is lost on the way."""

import contextlib
import fcntl
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from pipeline import artifact, recipe, runner, targets
from pipeline.artifact import FILE, Artifact
from pipeline.errors import BudgetError, DataError, OutputError, ToolError
from pipeline.recipe import Recipe
from pipeline.stages import report
from pipeline.tracking.runs import PARENT

pytestmark = pytest.mark.usefixtures("workplace")

TINY = """description: One network, hardly trained
data: digits
budget: {flops: 12M}
stages:
  - search: {trials: 1, epochs: 1, families: [resnet], batch_sizes: [32]}
  - finetune: {epochs: 1}
  - report
"""
REPORTS = "description: Only reports, of nothing\ndata: digits\nstages: [report, report]\n"
Files = dict[str, int]


def read(workplace: Path, text: str, overrides: str = "") -> Recipe:
    (workplace / "tiny.yaml").write_text(text)
    return recipe.load("tiny.yaml", recipe.parse_overrides(overrides))


def files(out: Path) -> Files:
    """Every file of every stage, and when it was written."""
    found = [path for path in sorted(out.glob("[0-9]*/**/*")) if path.is_file()]
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in found}


class Ended:
    """A run that has ended: what it returned, logged, wrote, and left in MLflow."""

    def __init__(self, out: Path, result: tuple[list[Artifact], str], lines: list[str]) -> None:
        self.finished, self.hint = result
        self.lines = lines
        self.files = files(out)
        self.replaced = sorted(str(p.relative_to(out)) for p in out.glob("replaced/*/*.json"))
        self.run_id = json.loads((out / runner.RUN).read_text())["run_id"]


def run(out: Path, loaded: Recipe, fresh: bool = False) -> Ended:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("flopsmith")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        return Ended(out, runner.run(loaded, out, fresh), lines)
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


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


@pytest.fixture(scope="module")
def client(workplace: Path) -> MlflowClient:
    return MlflowClient()


def nested(client: MlflowClient, parent: str) -> dict[str, Run]:
    """Runs nested in a run, by name."""
    experiment = client.get_run(parent).info.experiment_id
    found = client.search_runs([experiment], f"tags.`{PARENT}` = '{parent}'")
    return {run.info.run_name: run for run in found}


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
    assert first.hint.endswith(f"/runs/{first.run_id}")


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
    assert again.run_id != first.run_id
    stages = nested(client, again.run_id)
    assert sorted(stages) == ["01-search", "02-finetune", "03-report"]
    assert {stage.data.tags["resumed"] for stage in stages.values()} == {"true"}
    assert list(nested(client, stages["01-search"].info.run_id)) == ["trial-0000"]
    size = first.finished[1].metrics["size_bytes"]
    assert stages["02-finetune"].data.metrics["size_bytes"] == size
    assert client.get_run(again.run_id).data.metrics["size_bytes"] == size


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


# the rest needs no training


@pytest.fixture
def reports(workplace: Path) -> Callable[..., Recipe]:
    return lambda overrides="", text=REPORTS: read(workplace, text, overrides)


def names(out: Path) -> list[str]:
    return sorted(path.name for path in out.glob("[0-9]*"))


def test_fresh_runs_every_stage_again_and_keeps_the_earlier_files(
    tmp_path: Path, reports: Callable[..., Recipe]
) -> None:
    before = run(tmp_path, reports())
    after = run(tmp_path, reports(), fresh=True)
    assert set(after.files) == set(before.files)
    assert not set(after.files.items()) & set(before.files.items())
    assert after.replaced == [
        f"replaced/{name}-000/{file}"
        for name in ("01-report", "02-report")
        for file in (FILE, runner.MARK)
    ]


def test_what_was_moved_aside_earlier_stays(tmp_path: Path, reports: Callable[..., Recipe]) -> None:
    for seed in range(3):
        run(tmp_path, reports(f"seed={seed}"))
    (tmp_path / "replaced" / "01-report-000").rename(tmp_path / "kept")
    for seed in (3, 4):
        run(tmp_path, reports(f"seed={seed}"))
    moved = [tmp_path / "kept", *(tmp_path / "replaced").glob("01-report-*")]
    prints = [json.loads((path / FILE).read_text())["fingerprint"] for path in moved]
    assert len(prints) == len(set(prints)) == 4


def test_stages_that_the_recipe_no_longer_has_are_moved_aside(
    tmp_path: Path, reports: Callable[..., Recipe]
) -> None:
    run(tmp_path, reports())
    run(tmp_path, reports(text=REPORTS.replace("[report, report]", "[report]")))
    assert names(tmp_path) == ["01-report"]
    assert (tmp_path / "replaced" / "02-report-000" / FILE).exists()


def test_what_is_not_ours_is_left_where_it_is(
    tmp_path: Path, reports: Callable[..., Recipe]
) -> None:
    (tmp_path / "2024-notes").mkdir()
    run(tmp_path, reports(), fresh=True)
    assert names(tmp_path) == ["01-report", "02-report", "2024-notes"]


def test_a_directory_of_unknown_origin_is_moved_aside(
    tmp_path: Path, reports: Callable[..., Recipe]
) -> None:
    (tmp_path / "01-report").mkdir()
    (tmp_path / "01-report" / "report.html").write_text("mine")
    run(tmp_path, reports())
    assert (tmp_path / "replaced/01-report-000/report.html").read_text() == "mine"


@contextlib.contextmanager
def failing(error: type[BaseException]) -> Iterator[None]:
    """Let the second report write half of its files and raise."""
    real = report.run

    def half(source: Artifact, config: Any, ctx: Any) -> Artifact:
        if ctx.directory.name == "01-report":
            return real(source, config, ctx)
        (ctx.directory / "half.txt").write_text("half")
        raise error("no more")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "run", half)
        yield


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_a_stage_that_was_interrupted_goes_on_in_its_directory(
    tmp_path: Path,
    reports: Callable[..., Recipe],
    client: MlflowClient,
    error: type[BaseException],
    status: str,
) -> None:
    with failing(error), pytest.raises(error):
        run(tmp_path, reports())
    interrupted = files(tmp_path)
    assert f"02-report/{FILE}" not in interrupted
    run_id = json.loads((tmp_path / runner.RUN).read_text())["run_id"]
    assert client.get_run(run_id).info.status == status
    assert nested(client, run_id)["02-report"].info.status == status

    ended = run(tmp_path, reports())
    assert ended.replaced == []
    del interrupted[f"02-report/{runner.MARK}"]
    assert ended.files.items() >= interrupted.items()
    assert ended.lines.count("report: started") == 1


def test_the_mlflow_run_of_a_killed_process_is_marked_killed_at_the_next_start(
    tmp_path: Path, reports: Callable[..., Recipe], client: MlflowClient
) -> None:
    parent = client.create_run("0").info.run_id
    child = client.create_run("0", tags={PARENT: parent}).info.run_id
    (tmp_path / runner.RUN).write_text(json.dumps({"run_id": parent}))
    ended = run(tmp_path, reports())
    assert [client.get_run(run_id).info.status for run_id in (parent, child)] == ["KILLED"] * 2
    assert client.get_run(ended.run_id).info.status == "FINISHED"


# what cannot be run


def all_runs(client: MlflowClient) -> int:
    experiments = [one.experiment_id for one in client.search_experiments()]
    return len(client.search_runs(experiments, max_results=1000))


@pytest.mark.parametrize(
    ("overrides", "error", "what"),
    [
        (
            "budget.flops=1000",
            BudgetError,
            r"Received: budget\.flops=1,000\. .*resnet needs flops=\d",
        ),
        ("data.source=npz:missing.npz", DataError, "no such file"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_written(
    tmp_path: Path,
    workplace: Path,
    client: MlflowClient,
    overrides: str,
    error: type[Exception],
    what: str,
) -> None:
    before = all_runs(client)
    with pytest.raises(error, match=what):
        run(tmp_path / "out", read(workplace, TINY, overrides))
    assert not (tmp_path / "out").exists()
    assert all_runs(client) == before


def test_a_budget_that_is_too_small_leaves_an_earlier_run_as_it_is(
    changed: Ended, out: Path, workplace: Path
) -> None:
    with pytest.raises(BudgetError):
        run(out, read(workplace, TINY, "budget.flops=1000"))
    assert files(out) == changed.files


@pytest.mark.parametrize("place", ["file", "file/sub", "file/sub/sub"])
def test_an_output_directory_that_cannot_be_made_is_refused(
    tmp_path: Path, reports: Callable[..., Recipe], place: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write to the output directory"):
        runner.run(reports(), tmp_path / place)
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_directory_that_another_run_is_using_is_refused(
    tmp_path: Path, reports: Callable[..., Recipe]
) -> None:
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another run is using the output directory"):
            runner.run(reports(), tmp_path)
        assert names(tmp_path) == []
    run(tmp_path, reports())  # and can be used once the other has ended


# the accuracy that compression may cost


@pytest.mark.parametrize(("accuracy", "warned"), [(0.96, True), (0.971, False), (0.97, False)])
def test_a_drop_beyond_the_allowed_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, accuracy: float, warned: bool
) -> None:
    def made(name: str, value: float) -> Artifact:
        numbers = {"val_accuracy": value}
        return Artifact(stage=name, fingerprint="", metrics=numbers, directory=tmp_path)

    runner._warn_of_drop(made("finetune", 0.98), made("export", accuracy), 0.01)
    runner._warn_of_drop(None, made("export", 0.1), 0.01)
    told = [record.getMessage() for record in caplog.records]
    drop = "export: val accuracy is 0.0200 below that of finetune, more than max_accuracy_drop=0.01"
    assert told == ([drop] if warned else [])


# where the model is to run


def test_a_target_whose_tool_is_missing_is_refused_before_data_is_read(
    tmp_path: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets.load("ethos_u"), "missing", lambda: "install it first")
    loaded = read(workplace, TINY, "targets=[mobile_cpu,ethos_u] data=npz:missing.npz")
    with pytest.raises(ToolError, match=r"recipe tiny: targets: ethos_u: install it first"):
        run(tmp_path / "out", loaded)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("runs", "mapped", "told"),
    [
        (True, 2, []),
        (True, 1, ["export: ethos_u: 1 of 2 operators on the NPU. Not ADD 1: too wide."]),
        (False, 0, ["export: It does not run on ethos_u: no such thing."]),
    ],
)
def test_a_model_that_a_target_of_the_recipe_does_not_run_wholly_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, runs: bool, mapped: int, told: list[str]
) -> None:
    operators = [{"index": i, "name": "ADD", "placement": "npu", "reason": None} for i in (0, 1)]
    for lost in operators[mapped:]:
        lost |= {"placement": "cpu", "reason": "too wide"}
    refused = None if runs else "no such thing"
    found = {"target": "ethos_u", "runs": runs, "refused": refused, "mapped": mapped, "total": 2}
    found |= {"operators": operators}
    details = {"targets": [found, {**found, "target": "edgetpu", "runs": False, "refused": "x"}]}
    made = Artifact(stage="export", fingerprint="", details=details, directory=tmp_path)
    runner._warn_of_targets(made, ("ethos_u",))
    assert [record.getMessage() for record in caplog.records] == told
