"""The stage contract, over every file in `pipeline/stages/`, and what a stage is given."""

import inspect
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError
from support.context import make_context

from pipeline import stage
from pipeline.artifact import Artifact
from pipeline.data.datasets import Dataset
from pipeline.errors import RecipeError
from pipeline.stage import Context, Kind, StageConfig

FILES = sorted((Path(stage.__file__).parent / "stages").glob("[!_]*.py"))
NAMES = [path.stem for path in FILES]


def test_every_file_is_a_stage() -> None:
    assert set(stage.names()) == set(NAMES)
    assert {"search", "finetune", "prune", "cluster", "quantize", "export"} <= set(NAMES)


def test_an_unknown_stage_lists_the_known() -> None:
    with pytest.raises(RecipeError, match=f"Received: 'prun'. Known: {', '.join(NAMES)}"):
        stage.load("prun")


@pytest.mark.parametrize("name", NAMES)
def test_settings_refuse_unknown_keys_and_cannot_be_changed(name: str) -> None:
    config = stage.load(name).Config
    assert issubclass(config, StageConfig)
    with pytest.raises(ValidationError, match="Extra inputs"):
        config(unheard_of=1)
    with pytest.raises(ValidationError, match="frozen"):
        config().unheard_of = 1


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_has_a_default_and_a_description_of_one_line(name: str) -> None:
    for key, field in stage.load(name).Config.model_fields.items():
        assert not field.is_required(), key
        assert field.description, key
        assert "\n" not in field.description, key


@pytest.mark.parametrize("name", NAMES)
def test_a_stage_runs_from_a_source_with_settings_in_a_context(name: str) -> None:
    parameters = inspect.signature(stage.load(name).run).parameters
    assert list(parameters) == ["source", "config", "ctx"]


@pytest.mark.parametrize("name", NAMES)
def test_a_stage_says_which_model_it_needs_and_leaves(name: str) -> None:
    config = stage.load(name).Config
    assert config.needs
    assert set(config.needs) <= set(get_args(Kind))
    assert config.leaves in (None, "keras", "tflite")


@pytest.mark.parametrize("name", NAMES)
def test_a_stage_tells_what_it_reads_and_writes_and_why_and_its_source(name: str) -> None:
    lines = (stage.load(name).__doc__ or "").splitlines()
    told = [line.split(":")[0] for line in lines if line[:1].isalpha()]
    assert told[1:] == ["Reads", "Writes", "Why", "Source"]


@pytest.mark.parametrize("name", NAMES)
def test_a_check_takes_what_is_known_before_the_first_stage(name: str) -> None:
    check = getattr(stage.load(name), "check", None)
    if check:
        assert list(inspect.signature(check).parameters) == [
            "config",
            "dataset",
            "budget",
            "targets",
        ]


# Context


@pytest.fixture
def ctx(tmp_path: Path, squares: Dataset) -> Context:
    return make_context(tmp_path / "02-prune", squares, fingerprint="abc", title="mine\nA recipe")


@pytest.fixture
def source(tmp_path: Path) -> Artifact:
    return Artifact(
        stage="search",
        fingerprint="xyz",
        model_file="model.keras",
        family="resnet",
        arch={"width": 8},
        settings={"batch_size": 16},
        metrics={"val_accuracy": 0.5},
        details={"trials": [1]},
        seconds=3,
        directory=tmp_path / "01-search",
    )


def test_an_artifact_inherits_what_its_source_says_of_the_network(
    ctx: Context, source: Artifact
) -> None:
    assert ctx.done(source) == Artifact(
        stage="prune",
        fingerprint="abc",
        parent="01-search",
        family="resnet",
        arch={"width": 8},
        settings={"batch_size": 16},
        directory=ctx.directory,
    )


def test_changes_come_before_what_is_inherited(ctx: Context, source: Artifact) -> None:
    made = ctx.done(source, settings={"batch_size": 32}, details={"layers": []})
    assert (made.settings, made.details) == ({"batch_size": 32}, {"layers": []})


def test_the_first_stage_has_no_parent(ctx: Context, tmp_path: Path) -> None:
    data = Artifact(stage="data", fingerprint="", directory=tmp_path)
    assert ctx.done(data).parent is None


def test_a_tflite_model_is_saved_in_the_directory_of_its_stage(
    ctx: Context, source: Artifact
) -> None:
    made = ctx.save_tflite(b"TFL3", source)
    assert made.model_path == ctx.directory / "model.tflite"
    assert made.model_path.read_bytes() == b"TFL3"


def test_a_keras_model_is_saved_in_the_directory_of_its_stage(
    ctx: Context, source: Artifact
) -> None:
    import keras

    inputs = keras.Input((2,))
    made = ctx.save_keras(keras.Model(inputs, keras.layers.Dense(1)(inputs)), source)
    assert made.model_path is not None
    assert made.model_path.parent == ctx.directory
    assert keras.models.load_model(made.model_path, compile=False).count_params() == 3


def test_saving_a_model_does_not_finish_the_stage(ctx: Context, source: Artifact) -> None:
    ctx.save_tflite(b"TFL3", source)
    assert [path.name for path in ctx.directory.iterdir()] == ["model.tflite"]


def test_an_epoch_is_a_step_of_every_curve(ctx: Context) -> None:
    ctx.curve(3, {"train/loss": 0.5})
    assert ctx.log.points == [({"train/loss": 0.5}, 3)]  # type: ignore[attr-defined]
