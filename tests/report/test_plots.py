"""Plots of the report: what they show, what their captions say, and what leaves a gap."""

import math

from support.report_run import TRIALS, Page, artifact, plain, trial
from support.report_run import html as html
from support.report_run import page as page


def test_every_header_cell_has_a_scope_and_every_plot_a_text(page: Page) -> None:
    assert all(attributes.get("scope") for tag, attributes in page.tags if tag == "th")
    images = [attributes for _, attributes in page.tags if attributes.get("role") == "img"]
    drawn = [one for one in images if one.get("class") not in ("front", "parallel")]
    assert len(drawn) == [tag for tag, _ in page.tags].count("svg") == 6
    assert all(attributes["aria-label"] for attributes in images)


def test_the_caption_explains_only_what_the_plot_shows(page: Page) -> None:
    assert "The winner is ringed. The dashed line is the budget." in page.text
    bare = plain(artifact("01-search", None, trials=TRIALS)).text
    assert "ringed" not in bare
    assert "dashed" not in bare


def test_a_budget_of_macs_is_stated_and_drawn_as_flops() -> None:
    search = artifact("01-search", None, trials=TRIALS, budget={"macs": 2_500_000})
    page = plain(search)
    assert "Budget: macs 2.5M." in page.text
    assert "The dashed line is the budget." in page.text


def test_a_search_whose_trials_all_failed_has_a_table_and_no_plot() -> None:
    failed = [trial(str(i), "vgg", None, 10, status="FAILED", error="boom") for i in range(2)]
    page = plain(artifact("01-search", None, trials=failed, winner=None))
    assert "svg" not in {tag for tag, _ in page.tags}
    assert page.text.count("boom") == 2


def test_values_of_a_history_that_are_not_finite_leave_a_gap() -> None:
    history = {"train/loss": [1.0, math.nan, None, 0.5], "lr": [0.1], "val/loss": []}
    page = plain(artifact("01-finetune", None, history=history))
    assert "Loss by epoch; last: train 0.5." in page.text


def test_the_winner_is_ringed_though_an_earlier_trial_of_its_network_is_as_accurate() -> None:
    rows = [
        trial("0", "vgg", 1.0, 2_000_000) | {"val_loss": 0.2},
        trial("1", "vgg", 1.0, 2_000_000) | {"val_loss": 0.1, "parent": "0"},
    ]
    page = plain(artifact("01-search", None, trials=rows, winner="1"))
    assert "The winner is ringed." in page.text
    assert "another of its trials is better" in page.row("0")[2]


def test_sensitivity_is_of_the_objective() -> None:
    curves = {"conv": [(0.5, 0.9), (0.9, 0.4)]}
    page = plain(artifact("02-prune", None, sensitivity=curves, objective="macro_f1"))
    assert "Macro F1 on val images when one kernel is pruned alone" in page.text
    assert "Accuracy on val images" in plain(artifact("02-prune", None, sensitivity=curves)).text
