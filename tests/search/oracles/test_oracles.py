"""Every oracle: nothing over the budget becomes a trial, and a kill loses and repeats nothing."""

import itertools
import json
import math
import os
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras_tuner
import pytest

from pipeline.search import oracles

Values = Mapping[str, Any]
ENDED = ("COMPLETED", "FAILED")
EPOCHS = 9
NAMES = oracles.names()


def cost(values: Values) -> int:
    """A cheap stand-in for FLOPs, over a space with a condition like that of the families."""
    if values["family"] == "wide":
        return int(values["wide/width"] ** 2 * 10)
    return int(values["deep/depth"] * values["deep/kernel"] ** 2 * 10)


def space(continuous: bool = True) -> keras_tuner.HyperParameters:
    hp = keras_tuner.HyperParameters()
    hp.Choice("family", ["wide", "deep"])
    with hp.conditional_scope("family", ["wide"]):
        hp.Choice("wide/width", [2, 4, 8, 16])
    with hp.conditional_scope("family", ["deep"]):
        hp.Choice("deep/depth", [1, 2, 3])
        hp.Choice("deep/kernel", [3, 5])
    if continuous:
        hp.Float("rate", 1e-4, 1e-2, sampling="log")
    return hp


class Search:
    """Oracles over one directory, each a process in turn, and what they were asked and told."""

    def __init__(self, directory: Path, trials: int, budget: float, **options: Any) -> None:
        self._directory = directory
        self._options = {"trials": trials, "epochs": EPOCHS, "seed": 0, **options}
        self._oracle = oracles.load(self._options.pop("oracle", "random"))
        self._continuous = self._options.pop("continuous", True)
        self._budget, self._least = budget, self._options.pop("least", 0)
        self.asked: list[Values] = []
        self.proposed: list[str] = []

    def oracle(self) -> Any:
        def fits(values: Values) -> bool:
            self.asked.append(dict(values))
            return self._least <= cost(values) <= self._budget

        return self._oracle(space(self._continuous), fits, self._directory, **self._options)

    def run(self, score: Callable[[Any], float | None] = lambda _: 0.5) -> Any:
        """Search to the end, as `pipeline.stages.search` does."""
        oracle = self.oracle()
        while (trial := oracle.propose()) is not None:
            self.proposed.append(trial.trial_id)
            value = score(trial)
            oracle.finish(trial, *outcome(value))
        return oracle

    def ended(self) -> set[str]:
        """Trials that have ended, according to the disk."""
        files = self._directory.glob("trial_*/trial.json")
        states = [json.loads(path.read_text()) for path in files]
        return {state["trial_id"] for state in states if state["status"] in ENDED}


def outcome(value: float | None) -> tuple[dict[str, float] | None, str | None]:
    """What a trial of this accuracy tells its oracle."""
    if value is None:
        return None, "it failed"
    return {"val_accuracy": value, "val_loss": 1 - value}, None


def rate_near_a_thousandth(trial: Any) -> float:
    """The best point is wide, and its rate 0.001."""
    values = trial.hyperparameters.values
    return (values["family"] == "wide") - abs(math.log10(values["rate"]) + 3)


def values_of(oracle: Any) -> list[dict[str, Any]]:
    return [trial.hyperparameters.values for trial in oracle.ended()]


# the budget


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("seed", "budget"), [(0, 300), (1, 640)])
def test_in_200_trials_nothing_over_the_budget_is_proposed(
    tmp_path: Path, name: str, seed: int, budget: int
) -> None:
    seen: list[int] = []

    def score(trial: Any) -> float | None:
        seen.append(cost(trial.hyperparameters.values))
        return None if len(seen) % 5 == 0 else trial.hyperparameters.values["rate"]

    oracle = Search(tmp_path / "trials", 200, budget, seed=seed, oracle=name).run(score)
    assert len(seen) >= 200
    assert max(seen) <= budget
    assert oracle.refused > 0
    assert len(oracle.ended()) == len(oracle.trials) == len(seen)


@pytest.mark.parametrize("name", NAMES)
def test_a_lower_bound_is_kept_as_well(tmp_path: Path, name: str) -> None:
    search = Search(tmp_path / "trials", 30, 640, least=250, oracle=name)
    for trial in search.run().ended():
        assert 250 <= cost(trial.hyperparameters.values) <= 640


def test_refused_points_are_counted_and_are_no_trials(tmp_path: Path) -> None:
    search = Search(tmp_path / "trials", 30, budget=90)
    oracle = search.run()
    assert oracle.refused == sum(cost(values) > 90 for values in search.asked)
    assert oracle.refused + 30 == len(search.asked)
    assert len(list((tmp_path / "trials").glob("trial_*"))) == 30


@pytest.mark.parametrize("name", NAMES)
def test_a_trial_has_only_the_values_that_are_active(tmp_path: Path, name: str) -> None:
    oracle = Search(tmp_path / "trials", 20, math.inf, oracle=name).run()
    for values in values_of(oracle):
        other = "deep" if values["family"] == "wide" else "wide"
        assert not [name for name in values if name.startswith(other)]


# what is drawn


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_and_scores_give_the_same_points(tmp_path: Path, name: str) -> None:
    searches = (Search(tmp_path / at, 20, 300, seed=5, oracle=name) for at in ("a", "b"))
    first, second = (search.run(rate_near_a_thousandth) for search in searches)
    assert values_of(first) == values_of(second)


@pytest.mark.parametrize("name", ["bayesian", "evolution"])
def test_oracles_that_learn_find_better_points_than_chance(tmp_path: Path, name: str) -> None:
    found: dict[str, list[float]] = {"random": [], name: []}
    for key, seed in itertools.product(found, range(3)):
        search = Search(tmp_path / f"{key}{seed}", 40, 700, seed=seed, oracle=key)
        oracle = search.run(rate_near_a_thousandth)
        found[key].append(statistics.mean(trial.score for trial in oracle.ended()[20:]))
    assert statistics.mean(found[name]) > statistics.mean(found["random"]) + 0.2


@pytest.mark.parametrize("seeds", [(0, 1), (1, 2)])
def test_other_seeds_draw_other_points(tmp_path: Path, seeds: tuple[int, int]) -> None:
    first, second = (Search(tmp_path / str(seed), 5, 300, seed=seed).run() for seed in seeds)
    assert values_of(first) != values_of(second)


def test_no_point_is_drawn_twice(tmp_path: Path) -> None:
    oracle = Search(tmp_path / "trials", 8, math.inf, continuous=False).run()
    assert len({json.dumps(values, sort_keys=True) for values in values_of(oracle)}) == 8


# the end of the search


@pytest.mark.parametrize("name", NAMES)
def test_the_search_ends_after_as_many_networks_as_asked_for(tmp_path: Path, name: str) -> None:
    search = Search(tmp_path / "trials", 7, math.inf, oracle=name)
    oracle = search.run()
    assert len([t for t in oracle.ended() if oracle.span(t).parent is None]) == 7
    assert search.oracle().propose() is None


@pytest.mark.parametrize("name", NAMES)
def test_an_exhausted_space_ends_the_search(tmp_path: Path, name: str) -> None:
    search = Search(tmp_path / "trials", 500, budget=90, continuous=False, oracle=name)
    oracle = search.run()
    fresh = [trial for trial in oracle.ended() if oracle.span(trial).parent is None]
    assert len(fresh) == 2  # width 2 costs 40, depth 1 with kernel 3 costs 90
    assert oracle.propose() is None


@pytest.mark.parametrize("name", NAMES)
def test_a_space_that_nothing_fits_ends_the_search_in_bounded_attempts(
    tmp_path: Path, name: str
) -> None:
    search = Search(tmp_path / "trials", 500, budget=1, attempts=60, oracle=name)
    oracle = search.run()
    assert oracle.ended() == []
    assert oracle.refused == len(search.asked) == 60


@pytest.mark.filterwarnings("ignore:All-NaN axis")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("score", [None, math.nan])
def test_trials_that_fail_one_after_the_other_do_not_end_the_search(
    tmp_path: Path, score: float | None, name: str
) -> None:
    results: list[float | None] = [score] * 5 + [0.75] * 9
    search = Search(tmp_path / "trials", 6, math.inf, oracle=name)
    oracle = search.run(lambda trial: results[int(trial.trial_id)])
    assert [trial.status for trial in oracle.ended()][:6] == ["FAILED"] * 5 + ["COMPLETED"]


def test_a_failed_trial_keeps_its_error(tmp_path: Path) -> None:
    (trial,) = Search(tmp_path / "trials", 1, math.inf).run(lambda _: None).ended()
    assert trial.message == "it failed"


def test_a_completed_trial_keeps_its_score(tmp_path: Path) -> None:
    (trial,) = Search(tmp_path / "trials", 1, math.inf).run(lambda _: 0.625).ended()
    assert trial.score == 0.625


# after a kill

TRIALS = 4
WRITES = 5 * TRIALS  # a proposal: trial and oracle; its end: trial twice and oracle


class Kill:
    """Ends a process in the middle of a write: after as many whole ones as `allow` says."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._left, self._fsync = directory, math.inf, os.fsync
        self.writes = 0

    def allow(self, writes: float) -> None:
        self._left = writes

    def __call__(self, file: int) -> None:
        self.check_files()
        if self._left < 1:
            raise KeyboardInterrupt
        self._left -= 1
        self.writes += 1
        self._fsync(file)

    def check_files(self) -> None:
        """Every file that has its name is whole."""
        for path in self._directory.rglob("*.json"):
            json.loads(path.read_text())


@pytest.fixture
def killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kill:
    kill = Kill(tmp_path)
    monkeypatch.setattr(os, "fsync", kill)
    return kill


@pytest.fixture
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The points of a search that nothing interrupts."""
    search = Search(tmp_path_factory.mktemp("whole") / "trials", TRIALS, 300)
    return values_of(search.run())


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"random"}))
@pytest.mark.parametrize("kills", [(7,), (23,), (51, 3), (88,)])
def test_a_killed_search_goes_on_as_if_it_had_not_been_killed(
    tmp_path: Path, killed: Kill, name: str, kills: tuple[int, ...]
) -> None:
    plain = Search(tmp_path / "plain", 20, 300, oracle=name).run(rate_near_a_thousandth)
    search = Search(tmp_path / "trials", 20, 300, oracle=name)
    for writes in kills:
        killed.allow(writes)
        with pytest.raises(KeyboardInterrupt):
            search.run(rate_near_a_thousandth)
    killed.allow(math.inf)
    assert values_of(search.run(rate_near_a_thousandth)) == values_of(plain)


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


# hyperband


def spans(oracle: Any) -> list[tuple[int, int, str | None]]:
    return [tuple(oracle.span(trial)) for trial in oracle.ended()]


def test_hyperband_gives_a_third_of_a_round_three_times_the_epochs(tmp_path: Path) -> None:
    search = Search(tmp_path / "trials", 9, math.inf, oracle="hyperband")
    oracle = search.run(lambda trial: int(trial.trial_id) / 100)
    assert spans(oracle) == [
        *[(0, 1, None)] * 9,
        *[(1, 3, "0008"), (1, 3, "0007"), (1, 3, "0006")],
        (3, 9, "0011"),
    ]


def test_a_promoted_trial_has_the_network_of_its_parent(tmp_path: Path) -> None:
    oracle = Search(tmp_path / "trials", 20, math.inf, oracle="hyperband").run()
    for trial in oracle.ended():
        values = trial.hyperparameters.values
        if parent := oracle.span(trial).parent:
            before = oracle.trials[parent].hyperparameters.values
            assert {k: v for k, v in values.items() if "tuner" not in k} == {
                k: v for k, v in before.items() if "tuner" not in k
            }


def test_later_brackets_begin_with_fewer_networks_and_more_epochs(tmp_path: Path) -> None:
    oracle = Search(tmp_path / "trials", 17, math.inf, oracle="hyperband").run()
    fresh = [(first, last) for first, last, parent in spans(oracle) if parent is None]
    assert fresh == [(0, 1)] * 9 + [(0, 3)] * 5 + [(0, 9)] * 3


def test_a_round_in_which_half_fail_still_promotes(tmp_path: Path) -> None:
    search = Search(tmp_path / "trials", 9, math.inf, oracle="hyperband")
    oracle = search.run(lambda trial: None if int(trial.trial_id) < 6 else 0.5)
    assert [last for _, last, _ in spans(oracle)] == [1] * 9 + [3] * 3 + [9]


def test_a_bracket_that_is_cut_short_promotes_a_third_of_what_it_has(tmp_path: Path) -> None:
    oracle = Search(tmp_path / "trials", 4, math.inf, oracle="hyperband").run()
    assert [last for _, last, _ in spans(oracle)] == [1] * 4 + [3] * 2 + [9]


@pytest.mark.parametrize(("haste", "ends"), [(1, [3, 9]), (2, [9])])
def test_in_haste_no_network_is_new_and_the_best_comes_to_the_end(
    tmp_path: Path, haste: int, ends: list[int]
) -> None:
    search = Search(tmp_path / "trials", 99, math.inf, oracle="hyperband")
    oracle = search.oracle()
    for score in (0.5, 0.7, 0.6):
        oracle.finish(oracle.propose(), *outcome(score))
    oracle.haste = haste
    while (trial := oracle.propose()) is not None:
        oracle.finish(trial, *outcome(0.8))
    assert [last for _, last, _ in spans(oracle)[3:]] == ends
    assert spans(oracle)[3][2] == "0001"


def test_what_is_ahead_is_the_next_trial_and_the_last(tmp_path: Path) -> None:
    search = Search(tmp_path / "trials", 99, math.inf, oracle="hyperband")
    oracle = search.oracle()
    seen = []
    for _ in range(14):
        seen.append(oracle.ahead())
        oracle.finish(oracle.propose(), *outcome(0.5))
    assert seen == [(1, 8)] * 9 + [(2, 6)] * 3 + [(6, 6)] + [(3, 6)]
    oracle.haste = 1
    assert oracle.ahead() == (6, 6)


# more than accuracy


@pytest.mark.parametrize("name", NAMES)
def test_a_cost_can_count_as_much_as_accuracy(tmp_path: Path, name: str) -> None:
    search = Search(tmp_path / "trials", 12, math.inf, oracle=name, against="flops")
    oracle = search.oracle()
    while (trial := oracle.propose()) is not None:
        values = trial.hyperparameters.values
        scores = {"val_accuracy": rate_near_a_thousandth(trial), "val_loss": 1.0}
        oracle.finish(trial, scores | {"flops": cost(values)}, None)
    best = oracle.best_first(oracle.ended())
    cheapest = min(cost(trial.hyperparameters.values) for trial in oracle.ended())
    most_accurate = max(trial.score for trial in oracle.ended())
    ends = [(cost(t.hyperparameters.values), t.score) for t in best[:2]]
    assert cheapest in [flops for flops, _ in ends]
    assert most_accurate in [score for _, score in ends]


def test_of_equally_accurate_trials_the_one_of_less_loss_is_better(tmp_path: Path) -> None:
    oracle = Search(tmp_path / "trials", 3, math.inf).oracle()
    for loss in (0.3, 0.1, 0.2):
        oracle.finish(oracle.propose(), {"val_accuracy": 0.5, "val_loss": loss}, None)
    assert [trial.trial_id for trial in oracle.best_first(oracle.ended())] == ["1", "2", "0"]
