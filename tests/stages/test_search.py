"""The stage `search`: what it refuses, what it hands to the search, and what it leaves of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from support.pretended import KILLED
from support.pretended import ctx as ctx
from support.pretended import fake as fake

from pipeline.artifact import Artifact
from pipeline.budget import Budget
from pipeline.errors import BudgetError, RecipeError
from pipeline.search import trial
from pipeline.search.space import Space
from pipeline.stage import Context
from pipeline.stages import search
from pipeline.stages.search import Config


def test_the_choices_in_the_docs_can_be_made() -> None:
    text = (Path(__file__).parents[2] / "docs" / "search.md").read_text(encoding="utf-8")
    (entry,) = yaml.safe_load(text.split("```yaml")[2].split("```")[0])
    config = Config(**entry["search"])
    Space(config.families, choices=config.choices).check()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"oracle": "oraculum"}, "unknown oracle 'oraculum'. Known: "),
        ({"families": ["alexandria"]}, "unknown family 'alexandria'. Known: "),
        ({"learning_rates": [0.1, 0.01]}, "the first value must not be above the second"),
        ({"penalty_strengths": [0.1, 0.01]}, "the first value must not be above the second"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Config(**wrong)


def test_a_budget_that_no_family_keeps_is_refused_before_any_training(ctx: Context) -> None:
    config = Config(families=("lenet",))
    search.check(config, ctx.data, Budget(flops="2M"), ())
    with pytest.raises(BudgetError, match="lenet needs flops="):
        search.check(config, ctx.data, Budget(flops=1000), ())


def test_statistics_of_the_images_are_refused_for_networks_that_have_their_own(
    ctx: Context,
) -> None:
    config = Config(families=("lenet", "pretrained"), preprocessing="mean_std")
    with pytest.raises(RecipeError, match=r"search\.preprocessing: .*Received: mean_std"):
        search.check(config, ctx.data, Budget(), ())


def test_the_search_has_the_settings_and_no_family_that_cannot_fit(
    ctx: Context, caplog: pytest.LogCaptureFixture
) -> None:
    config = Config(
        families=("lenet", "resnet"), objective="pareto", against="params", minutes=2, epochs=4
    )
    made = search._searcher(config, replace(ctx, budget=Budget(flops="1M")))
    assert made.space.families == ("lenet",)
    assert made.space.optimizers == config.optimizers
    assert (made.plan.against, made.plan.seconds, made.plan.epochs) == ("params", 120, 4)
    assert "no network of resnet fits the budget" in caplog.text


@pytest.mark.usefixtures("fake")
def test_the_stage_leaves_the_best_network_and_a_table_of_all_trials(ctx: Context) -> None:
    config = Config(
        oracle="random", trials=4, epochs=1, finalists=1, families=("lenet",), optimizers=("adam",)
    )
    source = Artifact(stage="data", fingerprint="", directory=ctx.run_dir)
    made = search.run(source, config, ctx)
    rows = {row["trial_id"]: row for row in made.details.trials}
    assert [key for key, row in rows.items() if row["status"] == "FAILED"] == [KILLED]
    best = rows[made.details.winner]
    assert best["val_accuracy"] == max(row["val_accuracy"] or 0 for row in rows.values())
    assert (made.family, made.arch, made.settings) == ("lenet", best["arch"], best["settings"])
    assert (
        made.model_path.read_bytes()
        == (ctx.directory / best["directory"] / trial.MODEL).read_bytes()
    )
    assert ctx.log.trials == made.details.trials  # type: ignore[attr-defined]
