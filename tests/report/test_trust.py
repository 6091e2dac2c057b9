"""How far the final model can be trusted, as the page says it."""

import re

from support.mistaken import picture, run
from support.report_run import INT8, Page, artifact

from pipeline.report import trust
from pipeline.report.page import render_html


def test_trust_is_told_drawn_and_measured_on_worse_images() -> None:
    html = render_html(run(), "made by hand", "", picture=picture)
    found = trust.of(run())
    assert found is not None
    assert found["told"] in Page(html).text
    assert [row[0] for row in found["damages"]["rows"]] == ["as they are", "weak blur"]
    assert found["damages"]["rows"][1][1] == "80.00 (70.0 to 90.0)"
    assert re.search(r"by [\d.]+ points on average; with each score", found["told"])


def test_a_run_of_an_earlier_version_has_nothing_to_say() -> None:
    assert trust.of([artifact("01-export", INT8)]) is None
