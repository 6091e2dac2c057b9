"""The page as people use it: in a browser, on a phone and at a desk, by hand and by keyboard."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect, sync_playwright
from support.report_run import FLOAT, INT8, LAYERS, artifact, trial

from pipeline.data import inline
from pipeline.measure import evaluation
from pipeline.measure.answers import Answers
from pipeline.report.page import render_html
from pipeline.targets.browser import chromium

LACKS = chromium.missing()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(LACKS is not None, reason=str(LACKS)),
]
RNG = np.random.default_rng(0)
NAMES = ("cat", "dog", "owl")


def trials(count: int) -> list[dict[str, Any]]:
    found = []
    for number in range(count):
        width = int(RNG.integers(4, 60))
        family = str(RNG.choice(["resnet", "mobilenet", "vgg"]))
        rate = float(10 ** RNG.uniform(-4, -1))
        score = 0.5 + 0.09 * np.log(width) + 0.01 * RNG.normal()
        choices = {"arch": {"width": width}, "settings": {"learning_rate": rate}, "epochs": 9}
        found.append(trial(str(number), family, float(score), 2000 * width**2, **choices))
    return found


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    labels = RNG.integers(0, 3, 90)
    scores = RNG.dirichlet(np.ones(3), 90) * 0.5 + 0.5 * np.eye(3)[labels]
    other = np.where(np.arange(90)[:, None] < 6, np.roll(scores, 1, axis=1), scores)
    said, rows, found = evaluation.evaluated((labels, other), (labels, other), NAMES)
    change = evaluation.change(Answers.of(labels, scores), found, "02-finetune")
    details = {"evaluation": said, "per_class": rows, "change": change, "layers": LAYERS}
    run = [
        artifact("01-search", None, trials=trials(200), winner="7", budget={"flops": 4e6}),
        artifact("02-finetune", FLOAT),
        artifact("03-export", INT8, **details),
    ]
    page = tmp_path_factory.mktemp("page") / "report.html"
    page.write_text(
        render_html(
            run,
            "mobile",
            "seed: 7\n",
            picture=lambda place: inline.address(np.full((9, 9, 3), 2 * place, np.uint8), 96),
        ),
        encoding="utf-8",
    )
    return page


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=str)
def tab(request: pytest.FixtureRequest, path: Path) -> Iterator[Tab]:
    """The page, once its plots are drawn; console messages and requests are in `said`."""
    width, scheme = request.param
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium.find(), args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda asked: said.append(asked.url))
        page.goto(path.as_uri())
        page.wait_for_selector(".picker[data-drawn=yes]", timeout=60_000)
        page.said = said
        yield page
        browser.close()


def test_it_is_drawn_without_a_complaint_or_a_request(tab: Tab, path: Path) -> None:
    asked = [one for one in tab.said if not one.startswith("data:")]  # type: ignore[attr-defined]
    assert asked == [path.as_uri()]
    assert tab.locator(".front svg").count() == 1
    assert tab.locator(".parallel svg").count() == 1
    assert tab.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_a_mark_shows_its_network_and_so_does_the_list(tab: Tab) -> None:
    chosen, network = tab.locator("select[name=network]"), tab.locator("dl")
    assert chosen.input_value() == "7"  # the winner
    shown = [network.inner_text()]
    marks = tab.locator(".front svg path[aria-roledescription='point']")
    assert marks.count() >= 200
    marks.nth(marks.count() - 1).click(force=True)
    expect(chosen).not_to_have_value("7")
    shown.append(network.inner_text())
    clicked = chosen.input_value()
    chosen.focus()
    tab.keyboard.press("ArrowUp")
    expect(chosen).not_to_have_value(clicked)
    shown.append(network.inner_text())
    assert len({*shown}) == 3
    assert all("width" in one and "learning_rate" in one for one in shown)


def test_accuracy_can_be_looked_at_against_another_cost(tab: Tab) -> None:
    tab.locator("select[name=cost]").select_option("params")
    expect(tab.locator(".front svg")).to_contain_text("Parameters")


def test_nothing_serious_stands_in_the_way_of_people_with_disabilities(tab: Tab) -> None:
    found = Axe().run(tab).response["violations"]
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [n["html"][:200] for n in one["nodes"][:2]]) for one in serious] == []
