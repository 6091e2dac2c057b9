"""The page of a run: what it says, that it loads nothing, and that no text breaks it."""

import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.report_run import (
    CLASSES,
    FLOAT,
    HISTORY,
    INT8,
    RECIPE,
    RUN,
    SEARCH,
    Page,
    artifact,
    plain,
    trial,
)
from support.report_run import html as html
from support.report_run import page as page

from pipeline.report.page import render_html, render_markdown


def test_every_element_of_the_page_is_closed_in_its_order(page: Page) -> None:
    assert len(page.tags) > 100


@pytest.mark.slow
def test_the_same_artifacts_give_the_same_page_in_another_process(html: str) -> None:
    code = (
        "import sys; sys.path[:0] = ['tests', '.']\n"
        "from pipeline.report.page import render_html\n"
        "from support.report_run import RECIPE, RUN\n"
        "sys.stdout.buffer.write(render_html(RUN, 'mobile', RECIPE).encode())"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, check=True)
    assert done.stdout.decode() == html


def test_the_page_loads_nothing(html: str, page: Page) -> None:
    loading = [
        value or ""
        for _, attributes in page.tags
        for key, value in attributes.items()
        if key in ("src", "href", "xlink:href", "srcset", "data", "action")
    ]
    drawn = without_scripts(html)
    loading += re.findall(r"url\(([^)]*)\)", drawn)
    assert loading
    assert all(where.startswith("#") for where in loading)
    assert "@import" not in drawn
    assert not {"link", "iframe", "img"} & {tag for tag, _ in page.tags}


def without_scripts(html: str) -> str:
    return re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)


def test_a_page_without_networks_to_pick_has_no_script() -> None:
    html = render_html([artifact("01-finetune", FLOAT)], "x", "")
    assert "<script" not in html
    assert "script-src" not in html


def test_no_two_elements_share_an_id_and_every_reference_has_one(html: str, page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    references = re.findall(
        r"href=\"#([^\"]+)|url\(#([^)]+)\)|labelledby=\"([^\"]+)", without_scripts(html)
    )
    assert len(set(ids)) == len(ids)
    assert {a or b or c for a, b, c in references} <= set(ids)


def test_the_verdict_repeats_the_metrics(page: Page) -> None:
    dash = "\N{EN DASH}"
    assert page.row("04-quantize, final model")[1:] == [
        *("98.61", dash, dash, "67.3 KiB", "19.0 KiB", "0.092")
    ]
    gained = page.row("02-finetune, fine-tuned float model")
    assert gained[1:4] == ["98.91", dash, "\N{MINUS SIGN}0.30"]


def test_the_verdict_leaves_out_what_was_not_measured() -> None:
    markdown = render_markdown([artifact("01-finetune", {"size_bytes": 2048.0})], "tiny")
    assert "The final model, 01-finetune, has a file of 2.0 KiB.\n" in markdown
    assert "Compared" not in markdown


def test_the_verdict_compares_with_the_winner_of_the_search_too() -> None:
    made = [
        artifact("01-search", FLOAT),
        artifact("02-finetune", FLOAT),
        artifact("03-quantize", INT8),
    ]
    for kept, count in ((made, 2), (made[::2], 1), (made[2:], 0)):
        said = render_markdown(kept, "x")
        assert said.count("Compared with the") == count
        assert ("the winner of the search, 01-search, " in said) == (count > 0)


def test_an_accuracy_that_stays_is_a_change_of_zero_without_a_sign() -> None:
    run = [artifact("01-finetune", FLOAT), artifact("02-prune", FLOAT)]
    assert "changes by 0.00 percentage points" in render_markdown(run, "x")


def test_a_run_without_a_model_says_so() -> None:
    assert "No stage has left a measured model yet." in plain(SEARCH).text
    assert "No stage has left a measured model yet." in plain().text
    assert "No stage has left a measured model yet." in render_markdown([], "x")


def test_the_row_of_a_stage_shows_its_metrics(page: Page) -> None:
    assert page.row("04-quantize") == [
        *("04-quantize", "98.79", "98.61", "61,706", "15,940", "74.17", "16"),
        *("68,904", "19,406", "0.092", "416.5k", "833k", "83.4"),
    ]


def test_a_missing_metric_is_a_dash_and_a_broken_one_is_shown() -> None:
    page = plain(artifact("01-finetune", {"test_accuracy": math.nan, "latency_ms": math.inf}))
    dash = "\N{EN DASH}"
    assert page.row("01-finetune") == [
        *("01-finetune", dash, "nan", dash, dash, dash, dash, dash, dash),
        *("inf", dash, dash, "83.4"),
    ]
    assert "No stage has left a measured model yet." in page.text


def test_a_stage_without_metrics_has_no_row(page: Page) -> None:
    assert not [row for row in page.rows if row[0] == "01-search"]


OPERATORS = [
    {"index": 0, "name": "CONV_2D", "placement": "tpu", "reason": None},
    {"index": 1, "name": "RELU", "placement": "cpu", "reason": "is <not> supported"},
    {"index": 2, "name": "TANH", "placement": "cpu", "reason": "is <not> supported"},
]
LANDED = {"runs": True, "refused": None, "mapped": 1, "total": 3, "operators": OPERATORS}
TARGETS = [
    {**LANDED, "target": "edgetpu", "by": "prediction", "file": "model_edgetpu.tflite"},
    {**LANDED, "target": "browser", "file": "model.tflite", "latency_ms": 0.25},
]


def test_every_target_of_the_last_export_has_a_row_and_every_file_is_named() -> None:
    early = artifact("01-export", INT8, targets=[{**TARGETS[0], "target": "ethos_u"}])
    left_out = {"demo.html": "npm is not installed"}
    last = artifact("02-export", INT8, targets=TARGETS, left_out=left_out)
    page = plain(early, last.model_copy(update={"deliverables": ("model.tflite", "labels.txt")}))
    cells = ["yes", "is <not> supported", "1 of 3"]
    predicted = [row for row in page.rows if row[0] == "edgetpu (prediction)"]
    assert predicted == [["edgetpu (prediction)", "model_edgetpu.tflite", *cells, "\N{EN DASH}"]]
    assert page.row("browser") == ["browser", "model.tflite", *cells, "0.250"]
    assert not [row for row in page.rows if row[0].startswith("ethos_u")]
    assert (
        "Written, beside this page: model.tflite, labels.txt. No demo.html: npm is not installed."
        in page.text
    )
    markdown = render_markdown([early, last], "x")
    assert (
        "| browser | model.tflite | yes | is &lt;not&gt; supported | 1 of 3 | 0.250 |" in markdown
    )


def test_a_run_that_asked_no_target_says_nothing_of_them() -> None:
    for given in (artifact("01-export", INT8, targets=[]), artifact("01-finetune", INT8)):
        assert "Where it runs" not in plain(given).text + render_markdown([given], "x")


def test_repeated_stages_are_told_apart_by_their_directories() -> None:
    names = ["01-finetune", "02-prune", "03-finetune", "04-prune"]
    page = plain(*(artifact(name, FLOAT, history=HISTORY) for name in names))
    assert [row[0] for row in page.rows if row[0] in names] == names
    assert page.row("01-finetune, fine-tuned float model")


def test_trials_are_listed_best_first_and_failed_ones_last_with_their_error(page: Page) -> None:
    rows = [row for row in page.rows if len(row) == 9]
    assert [row[0] for row in rows] == ["Trial", "2", "4", "7", "3", "8", "1", "6", "0", "5"]
    assert rows[1][2] == "★ winner"
    assert rows[2][2] == "completed"
    assert rows[3][2] == "on the front"
    assert rows[-1][2] == "failed"
    assert "OOM: 12 GiB > 8 GiB" in rows[-1][8]


def test_a_long_error_is_folded_under_its_last_line() -> None:
    error = "Traceback (most recent call last):\n  File x\nValueError: no <b>"
    failed = trial("0", "vgg", None, 1000, status="FAILED", error=error, settings={})
    html = render_html([artifact("01-search", None, trials=[failed])], "x", "")
    assert '<div class="note failed">ValueError: no &lt;b&gt;</div>' in html
    assert "<summary>whole error</summary>" in html


def test_the_refused_points_and_the_budget_are_stated(page: Page) -> None:
    text = (
        "9 trials: 8 completed and 1 failed. "
        "Points refused before they became trials: 34. Budget: flops 6M."
    )
    assert text in page.text
    assert text in render_markdown(RUN, "mobile")


def test_a_page_without_a_search_has_no_trials() -> None:
    assert "Trials of" not in plain(artifact("01-finetune", FLOAT)).text


def test_layers_are_listed_with_the_reason_for_leaving_one_out(page: Page) -> None:
    assert "3 layers: 2 pruned and 1 skipped" in page.text
    assert page.row("conv2d") == ["conv2d", "Conv2D", "pruned", "75.00", "812", ""]
    assert page.row("depthwise")[-1] == "tfmot never prunes depthwise kernels"


def test_the_signal_to_noise_of_int8_layers_is_told_in_decibels() -> None:
    row = {"kind": "Conv2D", "treatment": "quantized", "reason": None}
    rows = [{**row, "layer": "stem", "snr_db": 38.26}, {**row, "layer": "norm", "snr_db": None}]
    page = plain(artifact("02-quantize", INT8, layers=rows))
    assert "Signal to noise (dB)" in page.text
    assert page.row("stem")[-2:] == ["38.3", ""]
    assert page.row("norm")[-2:] == ["", ""]


def test_the_hardest_class_comes_first_and_only_of_the_last_stage_that_has_classes() -> None:
    first = artifact("01-finetune", FLOAT, per_class=[{"class": "old", "test_accuracy": 0.5}])
    page = plain(first, artifact("02-quantize", INT8, per_class=CLASSES))
    start = next(i for i, row in enumerate(page.rows) if row[0] == "Class")
    assert [row[0] for row in page.rows[start + 1 :]] == ["nine", "eight", "zero", "one"]
    assert "Measured after 02-quantize" in page.text


def test_a_class_without_test_images_comes_last_with_a_dash() -> None:
    rows = [{"class": "owl", "test_accuracy": None, "test_images": 0}, *CLASSES]
    page = plain(artifact("01-finetune", FLOAT, per_class=rows))
    assert page.rows[-1] == ["owl", *"\N{EN DASH}" * 3, "0"]


HOSTILE = "<script>alert('|')</script>"


def test_text_from_outside_is_escaped_everywhere_on_the_page() -> None:
    run = [
        artifact(
            "01-search",
            FLOAT,
            trials=[
                trial(HOSTILE, HOSTILE, 0.5, 10, settings={HOSTILE: HOSTILE}),
                trial("b", "$x_{$", None, 10, status="FAILED", error=HOSTILE),
            ],
            winner=HOSTILE,
            history={f"train/{HOSTILE}": [1.0]},
            layers=[dict.fromkeys(("layer", "kind", "treatment", "reason"), HOSTILE)],
            per_class=[{"class": HOSTILE, "test_accuracy": 0.5, "test_images": 2}],
        )
    ]
    html = render_html(run, HOSTILE, HOSTILE)
    assert "script" not in {tag for tag, _ in Page(html).tags}
    assert Page(html).row(HOSTILE)[0] == HOSTILE


def test_text_from_outside_keeps_the_tables_of_the_markdown_whole() -> None:
    trials = [trial("a|b\nc", "<img>|`_x_`", 0.5, 10)]
    markdown = render_markdown([artifact("01-search", None, trials=trials)], HOSTILE)
    assert r"| a\|b c | &lt;img&gt;\|\`\_x\_\` | 50.00 | 10 | 0 |" in markdown
    assert "<script>" not in markdown


def test_the_recipe_is_shown_as_it_is(html: str, page: Page) -> None:
    assert "a phone&#39;s &lt;best&gt; network" in html
    assert RECIPE in page.text


def test_the_description_of_the_recipe_becomes_a_paragraph() -> None:
    html = render_html([], "mobile", "", lead="Networks for phones")
    assert "<h1>mobile</h1>\n<p>Networks for phones</p>" in html
    assert render_markdown([], "mobile", lead="For phones").startswith("# mobile\n\nFor phones\n\n")


def test_the_markdown_has_the_best_five_trials_and_points_to_the_page() -> None:
    markdown = render_markdown(RUN, "mobile")
    rows = re.findall(r"^\| (\d) \|", markdown, flags=re.MULTILINE)
    assert rows == ["2", "4", "7", "3", "8"]
    assert "| 04-quantize | 98.79 | 98.61 | 61,706 |" in markdown
    assert markdown.endswith("[report.html](report.html).\n")
