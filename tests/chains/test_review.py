"""A real run, reviewed as people do: in the report, in MLflow's page, by the commands."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from mlflow.tracking import MlflowClient
from PIL import Image
from playwright.sync_api import BrowserContext, expect, sync_playwright
from playwright.sync_api import Page as Tab
from support.report_run import Page

from pipeline import artifact
from pipeline.__main__ import main
from pipeline.artifact import Artifact
from pipeline.report.verdict import COLUMNS, cells
from pipeline.targets.browser import chromium
from pipeline.tracking import ui, view

LACKS = chromium.missing()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(LACKS is not None, reason=str(LACKS)),
]
RECIPE = """
description: Coloured squares, to review
data: folder:images
budget: {flops: 4M}
targets: [mobile_cpu]
stages:
  - search: {families: [resnet, mobilenet], trials: 4, epochs: 3, finalists: 1}
  - finetune: {epochs: 4}
  - quantize: {method: ptq}
  - export
  - report
"""
INKS = {"amber": (230, 160, 40), "blue": (40, 60, 230), "green": (40, 200, 60)}


def write_images(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for name, ink in INKS.items():
        (folder / name).mkdir(parents=True)
        for number in range(60):
            image = rng.integers(0, 120, (24, 24, 3))
            top, left = rng.integers(0, 14, 2)
            image[top : top + 10, left : left + 10] = ink + rng.integers(-40, 25, 3)
            picture = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
            picture.save(folder / name / f"{number}.png")


@pytest.fixture(scope="module")
def run(workplace: Path) -> Path:
    write_images(workplace / "images")
    (workplace / "review.yaml").write_text(RECIPE)
    assert main(["run", "--recipe", "review.yaml", "--out", "runs/review"]) == 0
    return workplace / "runs" / "review"


@pytest.fixture(scope="module")
def artifacts(run: Path) -> list[Artifact]:
    return artifact.load_all(run)


@pytest.fixture(scope="module")
def html(run: Path) -> str:
    return (run / "export" / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def context() -> Iterator[BrowserContext]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium.find(), args=["--no-sandbox"])
        yield browser.new_context(viewport={"width": 1400, "height": 900})
        browser.close()


def opened(context: BrowserContext, address: str) -> tuple[Tab, list[str]]:
    """A page, and what it complains of."""
    page, said = context.new_page(), list[str]()
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda one: said.append(one.text) if one.type == "error" else None)
    page.goto(address)
    return page, said


# the report


def test_every_number_of_the_report_is_that_of_an_artifact(
    html: str, artifacts: list[Artifact]
) -> None:
    page = Page(html)
    for one in artifacts:
        if one.metrics:
            assert page.row(one.directory.name)[1:] == cells(one, COLUMNS)
    final = next(a for a in reversed(artifacts) if a.model_file)
    said = final.details.evaluation
    assert said is not None
    assert f"by {100 * said['calibration_error']:.1f} points on average" in page.text
    for row in final.details.per_class:
        shown = next(one for one in page.rows if one[0] == row["class"] and len(one) == 6)
        assert shown[1] == f"{100 * row['test_accuracy']:.2f}"  # type: ignore[operator]
    total = sum(one["microseconds"] or 0 for one in final.details.operators)
    assert f"they take {total:,.1f} µs" in page.text


def test_numbers_in_mlflow_are_those_of_the_artifacts(run: Path, artifacts: list[Artifact]) -> None:
    client = MlflowClient()
    run_id = json.loads((run / "run.json").read_text())["run_id"]
    experiment = client.get_run(run_id).info.experiment_id
    nested = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run_id}'")
    by_name = {one.info.run_name: one for one in nested}
    for one in artifacts:
        found = by_name[one.directory.name]
        assert found.data.tags["stage"] == one.stage
        for name, value in one.metrics.items():
            assert found.data.metrics[name] == pytest.approx(value)
    winner = next(a.details.winner for a in artifacts if a.details.winner)
    search = by_name[next(a.directory.name for a in artifacts if a.details.winner)]
    trials = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{search.info.run_id}'")
    assert [t.info.run_name for t in trials if t.data.tags.get("winner") == "yes"] == [
        f"trial-{winner}"
    ]
    (given,) = client.get_run(run_id).inputs.dataset_inputs
    assert given.dataset.name == "folder:images"


@pytest.mark.parametrize("name", ["report.html", "demo.html"])
def test_pages_complain_of_nothing_and_shut_nobody_out(
    run: Path, context: BrowserContext, name: str
) -> None:
    page, said = opened(context, (run / "export" / name).as_uri())
    page.wait_for_timeout(3000)
    assert said == []
    found = Axe().run(page).response["violations"]
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in serious] == []
    page.close()


# MLflow's own page


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with ui.serving(port):
        yield f"http://127.0.0.1:{port}"


def pages(run: Path) -> tuple[str, str, str]:
    """Where the table of runs, the run, and its report are."""
    run_id = json.loads((run / "run.json").read_text())["run_id"]
    experiment = MlflowClient().get_run(run_id).info.experiment_id
    own = f"#/experiments/{experiment}/runs/{run_id}"
    return view.page(experiment), own, view.report(experiment, run_id)


def test_the_printed_link_opens_a_table_with_the_right_columns(
    run: Path, server: str, context: BrowserContext
) -> None:
    page, _ = opened(context, f"{server}/{pages(run)[0]}")
    page.set_viewport_size({"width": 3000, "height": 900})  # only what is seen is in the page
    for column in ("test_accuracy", "val_accuracy", "size_bytes", "family", "winner"):
        expect(page.get_by_role("columnheader", name=re.compile(column)).first).to_be_attached(
            timeout=60_000
        )
    expect(page.get_by_text("trial-0000").first).to_be_attached(timeout=60_000)  # not folded
    page.close()


def test_the_charts_have_every_trial(run: Path, server: str, context: BrowserContext) -> None:
    page, _ = opened(context, f"{server}/{pages(run)[0]}&compareRunsMode=CHART")
    chart = page.locator(".js-plotly-plot").first
    chart.wait_for(timeout=60_000)
    expect(page.get_by_text("flops vs. val_accuracy").first).to_be_attached()
    points = chart.locator(".scatterlayer .point")
    expect(points.nth(4)).to_be_attached(timeout=30_000)  # 4 trials and more
    page.close()


def test_the_report_opens_in_the_viewer_of_artifacts(
    run: Path, server: str, context: BrowserContext
) -> None:
    page, _ = opened(context, f"{server}/{pages(run)[2]}")
    frame = page.frame_locator("iframe").first
    expect(frame.locator(".verdict").first).to_contain_text("READY FOR PHONES", timeout=60_000)
    page.close()


# the commands


def test_compare_tells_what_differs(
    run: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = RECIPE.replace("epochs: 4}", "epochs: 2}").replace("trials: 4", "trials: 1")
    (workplace / "other.yaml").write_text(other)
    assert main(["run", "--recipe", "other.yaml", "--out", "runs/other"]) == 0
    capsys.readouterr()
    page = workplace / "both.html"
    assert main(["compare", "runs/review", "runs/other", "--html", str(page)]) == 0
    told = capsys.readouterr().out
    assert re.search(r"runs/other (is|shows) .*compared with runs/review", told)
    assert re.search(r"finetune\.epochs +4 +2", told)
    assert Page(page.read_text()).rows


def test_explain_writes_a_picture_of_both_models(
    run: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "one").mkdir()
    image = workplace / "one" / "photo.png"
    Image.open(workplace / "images" / "blue" / "0.png").resize((60, 40)).save(image)
    command = ["explain", "runs/review", str(image), "--out", "explained", "--class", "blue"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert re.search(r"photo\.png: blue \(float \(.*\) [01]\.\d+, int8 [01]\.\d+\) -> ", said)
    with Image.open(workplace / "explained" / "photo.png") as made:
        pixels = np.asarray(made.convert("RGB"), int)
    assert np.ptp(pixels, axis=-1).max() > 60  # heat is in colour
    assert main([*command[:-1], "purple"]) == 2
    assert "Known: amber, blue, green" in capsys.readouterr().err


def test_evaluate_says_all_of_it(run: Path, capsys: pytest.CaptureFixture[Any]) -> None:
    command = ["evaluate", str(run / "export" / "model.tflite"), "--data", "folder:images"]
    assert main([*command, "--damaged", "20", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["damaged"]) == 16
    assert {row["class"] for row in found["per_class"]} == {*INKS}
    assert found["evaluation"]["unknown"]["kept"] > 0.5
    assert main([*command, "--damaged", "20"]) == 0
    lines = capsys.readouterr().out
    assert "recall  precision      F1  images" in lines
    assert "damage strong noise: accuracy " in lines
