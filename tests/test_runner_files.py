"""Files of earlier runs: nothing is lost, and what was interrupted goes on."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient
from support.running import REPORTS, files, names, nested, run
from support.running import client as client
from support.running import reports as reports

from pipeline import runner
from pipeline.artifact import FILE, Artifact
from pipeline.plan.before import MARK
from pipeline.recipe import Recipe
from pipeline.stages import report
from pipeline.tracking.runs import PARENT

pytestmark = pytest.mark.usefixtures("workplace")


def test_fresh_runs_every_stage_again_and_keeps_the_earlier_files(
    tmp_path: Path, reports: Callable[..., Recipe]
) -> None:
    before = run(tmp_path, reports())
    after = run(tmp_path, reports(), fresh=True)
    assert after.run_id != before.run_id
    assert set(after.files) == set(before.files)
    assert not set(after.files.items()) & set(before.files.items())
    assert after.replaced == [
        f"replaced/{name}-000/{file}"
        for name in ("01-report", "02-report")
        for file in (FILE, MARK)
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
    del interrupted[f"02-report/{MARK}"]
    assert ended.files.items() >= interrupted.items()
    assert ended.lines.count("report: started") == 1
    assert ended.run_id == run_id
    stages = nested(client, run_id)
    assert sorted(stages) == ["01-report", "02-report"]
    for one in (client.get_run(run_id), *stages.values()):
        assert one.info.status == "FINISHED"


def test_the_mlflow_run_of_a_killed_process_is_marked_killed_at_the_next_start(
    tmp_path: Path, reports: Callable[..., Recipe], client: MlflowClient
) -> None:
    parent = client.create_run("0").info.run_id
    child = client.create_run("0", tags={PARENT: parent}).info.run_id
    (tmp_path / runner.RUN).write_text(json.dumps({"run_id": parent}))
    ended = run(tmp_path, reports())
    assert [client.get_run(run_id).info.status for run_id in (parent, child)] == ["KILLED"] * 2
    assert client.get_run(ended.run_id).info.status == "FINISHED"
