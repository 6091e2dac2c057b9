"""The trials of a search, in the order in which they are shown, and what is said of them."""

import math

from support.report_run import SEARCH, TRIALS, artifact, trial

from pipeline.report import trials
from pipeline.report.trials import read_trials


def test_a_trial_whose_accuracy_is_not_finite_ranks_after_the_others() -> None:
    trials = [trial("0", "a", math.nan, 10), trial("1", "a", 0.1, 10), trial("2", "a", None, 5)]
    found = read_trials(artifact("01-search", None, trials=trials))
    assert [t.trial_id for t in found] == ["1", "2", "0"]


def test_all_trials_and_refusals_are_counted() -> None:
    said = trials.trials_text(SEARCH)
    assert said.startswith("9 trials: 8 completed and 1 failed.")
    assert "Points refused before they became trials: 34." in said
    assert trials.title(SEARCH) == "accuracy"


def test_the_networks_can_be_picked_with_their_choices() -> None:
    found = trials.gathered(SEARCH)
    points = {one["id"]: one for one in found["picker"]["points"]}
    assert len(points) == len([one for one in TRIALS if one["status"] == "COMPLETED"])
    assert points["2"]["winner"]
    assert points["2"]["choices"]["family"] == "mobilenet"
    assert found["importance"] is None  # of fewer than ten networks
