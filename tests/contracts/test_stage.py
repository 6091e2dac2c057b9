"""The stage contract, over every file in `pipeline/stages/`, and what a stage is given."""

import importlib
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
from pydantic import Field, ValidationError
from support.context import make_context

from pipeline import stage
from pipeline.artifact import Artifact, ModelPath
from pipeline.budget import Budget
from pipeline.context import Context
from pipeline.data.datasets import Dataset
from pipeline.details import Details
from pipeline.errors import RecipeError
from pipeline.stage import Kind, StageConfig

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
    module = importlib.import_module(f"pipeline.stages.{name}")
    lines = (module.__doc__ or "").splitlines()
    told = [line.split(":")[0] for line in lines if line[:1].isalpha()]
    assert told[1:] == ["Reads", "Writes", "Why", "Source"]


@pytest.mark.parametrize("name", NAMES)
def test_a_check_takes_what_is_known_before_the_first_stage(name: str) -> None:
    check = vars(importlib.import_module(f"pipeline.stages.{name}")).get("check")
    if check:
        assert list(inspect.signature(check).parameters) == [
            "config",
            "dataset",
            "budget",
            "targets",
        ]


@pytest.mark.parametrize("name", NAMES)
def test_every_function_that_a_stage_defines_is_the_one_that_is_called(name: str) -> None:
    module, found = importlib.import_module(f"pipeline.stages.{name}"), stage.load(name)
    for key in ("run", "check", "ladder", "foresee"):
        if key in vars(module):
            assert getattr(found, key) is vars(module)[key]
    assert (found.name, found.Config) == (name, module.Config)


def test_the_stages_that_compress_are_those_with_a_ladder() -> None:
    compress = {name for name in NAMES if stage.load(name).ladder is not None}
    assert compress == {"prune", "cluster", "slim", "factorize", "quantize"}


def test_what_later_stages_must_keep_is_declared_by_the_stage_that_makes_it() -> None:
    protected = {name: stage.load(name).Config.protects for name in NAMES}
    assert protected["prune"] == "zeros"
    assert protected["cluster"] == "clusters"
    assert {name for name, kept in protected.items() if kept} == {"prune", "cluster"}


def erode(**functions: Any) -> ModuleType:
    """A stage of tests; the functions count as defined in its module."""

    class Config(StageConfig):
        """No settings."""

    made = ModuleType("pipeline.stages.erode")
    vars(made).update({"Config": Config, **functions})
    for function in functions.values():
        function.__module__ = made.__name__
    return made


def passes(source: Any, config: Any, ctx: Any) -> Any:
    return source


def test_a_stage_that_defines_no_more_than_it_must_refuses_nothing() -> None:
    found = stage.read(erode(run=passes))
    assert (found.name, found.ladder) == ("erode", None)
    found.check(found.Config(), None, Budget(), ())  # type: ignore[arg-type]
    found.foresee(found.Config(), None, ())  # type: ignore[arg-type]


def test_a_function_that_nothing_would_call_is_refused() -> None:
    with pytest.raises(TypeError, match=r"erode.*Received: forsee.*foresee"):
        stage.read(erode(run=passes, forsee=lambda config, source, before: None))


def test_a_function_with_other_parameters_is_refused() -> None:
    with pytest.raises(TypeError, match=r"erode.*\(config, data\).*\(config, dataset, budget"):
        stage.read(erode(run=passes, check=lambda config, data: None))


def test_a_stage_without_run_is_refused() -> None:
    with pytest.raises(TypeError, match=r"erode.*run"):
        stage.read(erode())


def test_a_stage_without_settings_of_its_own_is_refused() -> None:
    made = erode(run=passes)
    made.Config = dict  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=r"erode.*dict"):
        stage.read(made)


# settings that name a model


def test_the_type_of_a_setting_says_that_it_names_a_model() -> None:
    class Config(StageConfig):
        """Three settings of the type, one of them not given, and one of another type."""

        start: ModelPath = Field("a.keras", description="A model")
        other: ModelPath | None = Field(None, description="Perhaps another")
        third: ModelPath | None = Field("c.keras", description="Perhaps a third")
        model: str = Field("b.keras", description="No model, whatever its name")

    assert Config().model_paths() == {"start": "a.keras", "third": "c.keras"}


def test_the_stages_that_read_models_say_so() -> None:
    found = stage.load("load").Config(model="a.keras").model_paths()
    found |= stage.load("finetune").Config(teacher="b.keras").model_paths()
    assert found == {"model": "a.keras", "teacher": "b.keras"}


# Context


@pytest.fixture
def ctx(tmp_path: Path, squares: Dataset) -> Context:
    return make_context(tmp_path / "02-prune", squares, fingerprint="abc", recipe_name="mine")


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
        details={"trials": [{"trial_id": "0"}]},
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
    made = ctx.done(source, settings={"batch_size": 32}, details=Details(layers=[]))
    assert (made.settings, made.details) == ({"batch_size": 32}, Details(layers=[]))


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
