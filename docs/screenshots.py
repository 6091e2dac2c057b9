"""The pictures of the README and of docs/reviewing.md, from a run that has ended.

    flopsmith run mobile && python docs/screenshots.py runs/mobile

Opens its report and demo page, and MLflow's own page on the store of the run, in Chromium; writes
PNG files to docs/images/.
"""

import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from mlflow.tracking import MlflowClient
from playwright.sync_api import Browser, Page, sync_playwright

from pipeline.targets.browser import chromium
from pipeline.tracking import ui, view

IMAGES = Path(__file__).parent / "images"
WITHOUT_PATHS = """() => {  // of this machine
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const { data } = texts.currentNode;
    if (data.includes("/mlruns/")) texts.currentNode.data = data.slice(data.indexOf("mlruns/"));
  }
}"""
DESKTOP, PHONE = (1280, 860), (390, 844)


def main() -> None:
    """Take them all."""
    run = Path(sys.argv[1]).resolve()
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium.find(), args=["--no-sandbox"])
        report, demo = ((run / "export" / name).as_uri() for name in ("report.html", "demo.html"))
        shoot(browser, report, "report", DESKTOP)
        shoot(browser, report, "report-dark", DESKTOP, dark=True)
        shoot(browser, report, "report-phone", PHONE)
        shoot(browser, report, "report-mistakes", DESKTOP, then=at("#mistakes"))
        shoot(browser, report, "report-search", DESKTOP, then=at("#trials-1"))
        shoot(browser, demo, "demo", DESKTOP, then=tried)
        shoot(browser, demo, "demo-phone", PHONE, dark=True, then=tried)
        in_mlflow(browser, run)
        browser.close()


def in_mlflow(browser: Browser, run: Path) -> None:
    """The table of runs, its charts, and the report in the viewer of artifacts."""
    run_id = json.loads((run / "run.json").read_text(encoding="utf-8"))["run_id"]
    experiment = MlflowClient().get_run(run_id).info.experiment_id
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with ui.serving(port):
        server = f"http://127.0.0.1:{port}/"
        wide = (1600, 900)
        shoot(
            browser,
            server + view.page(experiment),
            "mlflow-runs",
            wide,
            5000,
            "[role=columnheader]",
        )
        charts = server + view.page(experiment) + "&compareRunsMode=CHART"
        shoot(browser, charts, "mlflow-charts", wide, 9000, "svg.main-svg")
        shoot(
            browser, server + view.report(experiment, run_id), "mlflow-report", wide, 9000, "iframe"
        )


def shoot(
    browser: Browser,
    address: str,
    name: str,
    size: tuple[int, int],
    wait: int = 1500,
    until: str = "body",
    dark: bool = False,
    then: Callable[[Page], None] | None = None,
) -> None:
    """Open a page and take a picture of what is seen of it."""
    page = browser.new_page(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
    )
    page.goto(address)
    page.locator(until).first.wait_for(timeout=90_000)
    page.wait_for_timeout(wait)
    if then:
        then(page)
    page.evaluate(WITHOUT_PATHS)
    page.screenshot(path=IMAGES / f"{name}.png")
    page.close()


def at(place: str) -> Callable[[Page], None]:
    """Go to a part of the page."""

    def go(page: Page) -> None:
        page.locator(place).first.scroll_into_view_if_needed()
        page.evaluate("place => document.querySelector(place).scrollIntoView()", place)
        page.wait_for_timeout(800)

    return go


def tried(page: Page) -> None:
    """Try the first image that the demo page offers."""
    page.wait_for_timeout(3000)
    page.locator("#samples button").first.click()
    page.wait_for_timeout(2500)


if __name__ == "__main__":
    main()
