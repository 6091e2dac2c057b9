"""What oracles share: trials, their scores and errors, and their files after a kill."""

import math
from pathlib import Path
from typing import Any

import pytest
from support.oracle_search import Kill, Search, cost, outcome, values_of
from support.oracle_search import killed as killed

TRIALS = 4
WRITES = 5 * TRIALS  # a proposal: trial and oracle; its end: trial twice and oracle


def test_refused_points_are_counted_and_are_no_trials(tmp_path: Path) -> None:
    search = Search(tmp_path / "trials", 30, budget=90)
    oracle = search.run()
    assert oracle.refused == sum(cost(values) > 90 for values in search.asked)
    assert oracle.refused + 30 == len(search.asked)
    assert len(list((tmp_path / "trials").glob("trial_*"))) == 30


def test_a_failed_trial_keeps_its_error(tmp_path: Path) -> None:
    (trial,) = Search(tmp_path / "trials", 1, math.inf).run(lambda _: None).ended()
    assert trial.message == "it failed"


def test_a_completed_trial_keeps_its_score(tmp_path: Path) -> None:
    (trial,) = Search(tmp_path / "trials", 1, math.inf).run(lambda _: 0.625).ended()
    assert trial.score == 0.625


@pytest.fixture
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The points of a search that nothing interrupts."""
    search = Search(tmp_path_factory.mktemp("whole") / "trials", TRIALS, 300)
    return values_of(search.run())


def test_a_search_writes_as_often_as_the_kills_below_assume(tmp_path: Path, killed: Kill) -> None:
    Search(tmp_path / "trials", TRIALS, 300).run()
    assert killed.writes == WRITES


@pytest.mark.parametrize("kills", [(n,) for n in range(WRITES)] + [(2, 3), (6, 1, 1, 4), (0, 0, 7)])
def test_a_search_killed_at_any_write_repeats_and_loses_no_trial(
    tmp_path: Path, killed: Kill, whole: list[dict[str, Any]], kills: tuple[int, ...]
) -> None:
    search = Search(tmp_path / "trials", TRIALS, 300)
    for writes in kills:
        finished = search.ended()
        search.proposed.clear()
        killed.allow(writes)
        with pytest.raises(KeyboardInterrupt):
            search.run()
        assert not finished & set(search.proposed)
    finished = search.ended()
    search.proposed.clear()
    killed.allow(math.inf)
    oracle = search.run()

    assert not finished & set(search.proposed)
    assert {trial.trial_id for trial in oracle.ended()} == {str(n) for n in range(TRIALS)}
    assert len(oracle.ended()) == TRIALS
    # the same points as without a kill, so no point twice and none over the budget either
    found = sorted(oracle.ended(), key=lambda trial: trial.trial_id)
    assert [trial.hyperparameters.values for trial in found] == whole
    assert all(trial.score == 0.5 for trial in found)


@pytest.mark.parametrize(
    ("lost", "proposed"),
    [("create", ["1", "2", "3"]), ("end", ["2", "3"]), ("create and end", ["2", "3"])],
)
def test_trial_files_newer_than_the_oracles_file_decide(
    tmp_path: Path, whole: list[dict[str, Any]], lost: str, proposed: list[str]
) -> None:
    search = Search(tmp_path / "trials", TRIALS, 300)
    state = tmp_path / "trials" / "oracle.json"
    oracle = search.oracle()
    first = oracle.propose()
    assert first is not None
    oracle.finish(first, *outcome(0.5))
    before_create = state.read_text()
    second = oracle.propose()
    assert second is not None
    before_end = state.read_text()
    if "end" in lost:
        oracle.finish(second, *outcome(0.25))
    state.write_text(before_create if "create" in lost else before_end)

    ended = search.run().ended()
    assert search.proposed == proposed
    assert [trial.hyperparameters.values for trial in ended] == whole


def test_an_interrupted_trial_is_proposed_again_first_and_with_the_same_values(
    tmp_path: Path,
) -> None:
    search = Search(tmp_path / "trials", TRIALS, 300)
    before = search.oracle().propose()
    again = search.oracle().propose()
    assert before is not None
    assert again is not None
    assert again.trial_id == before.trial_id
    assert again.hyperparameters.values == before.hyperparameters.values


def test_what_a_killed_write_left_behind_is_ignored(tmp_path: Path) -> None:
    search = Search(tmp_path / "trials", 2, 300)
    search.run()
    for place in ("trials", "trials/trial_0"):
        (tmp_path / place / ".trial.json.123").write_text('{"trial_')
    assert [trial.trial_id for trial in search.oracle().ended()] == ["0", "1"]


def test_refused_points_are_still_counted_after_a_kill(tmp_path: Path, killed: Kill) -> None:
    plain = Search(tmp_path / "plain", 12, 90).run()
    search = Search(tmp_path / "trials", 12, 90)
    killed.allow(5 * 6 + 1)
    with pytest.raises(KeyboardInterrupt):
        search.run()
    killed.allow(math.inf)
    assert search.run().refused == plain.refused > 0


def test_trials_are_listed_in_the_order_of_their_numbers_after_a_restart(tmp_path: Path) -> None:
    search = Search(tmp_path / "trials", 12, math.inf)
    search.run()
    ids = [int(trial.trial_id) for trial in search.oracle().ended()]
    assert ids == list(range(12))


def test_of_equally_accurate_trials_the_one_of_less_loss_is_better(tmp_path: Path) -> None:
    oracle = Search(tmp_path / "trials", 3, math.inf).oracle()
    for loss in (0.3, 0.1, 0.2):
        oracle.finish(oracle.propose(), {"val_accuracy": 0.5, "val_loss": loss}, None)
    assert [trial.trial_id for trial in oracle.best_first(oracle.ended())] == ["1", "2", "0"]
